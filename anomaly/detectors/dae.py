"""The denoising autoencoder of Kascenas et al.: coarse noise is put upon normal images, a U-Net takes it away again."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from anomaly.degradations.noise import Noise
from anomaly.detectors.restoring import RestoringDetector

GRAIN = 16
"""Grains along the smallest side: 8 of 128 pixels."""


@dataclass(kw_only=True)
class DAE(RestoringDetector):
    """Denoiser of coarse noise, shown the image as it is: what looks like noise to it is abnormal.

    As published: the noise, group norm, AMSGrad with its decay, and what is shown. Not as published: the size, which is
    for a CPU, and the objective, unless width=64, levels=4, objective=l2, lr=1e-4, batch=16 and steps=67200 are given;
    and with any settings, that the network says what to add to the image instead of drawing it, its layers otherwise, a
    rate that falls once instead of falling and rising, and that the rim of the mask leaves maps after their median, not
    before.

    Args:
        noise_sigma: standard deviation of the noise on its coarse grid, as a share of the range of the images.
        coarse: pixels between two independent values of it; 0 takes a 16th of the smallest side.
        weight_decay: of Adam.
    """

    name: ClassVar[str] = "dae"
    summary: ClassVar[str] = "denoising autoencoder: a U-Net that takes coarse noise away; heads l1, l2, ssim, combined"
    cite: ClassVar[str] = "Kascenas et al. 2022"
    positive: ClassVar[tuple[str, ...]] = (*RestoringDetector.positive, "noise_sigma")
    not_negative: ClassVar[tuple[str, ...]] = (*RestoringDetector.not_negative, "coarse", "weight_decay")
    noise_sigma: float = 0.2
    coarse: int = 0
    weight_decay: float = 1e-5

    @property
    def made(self) -> Noise:
        """Coarse noise."""
        return Noise(sigma=self.noise_sigma, coarse=self.coarse)

    def fill_in(self, shape: tuple[int, ...], count: int, processes: int = 1) -> None:
        """Fill in what nobody set; grains grow with the images."""
        super().fill_in(shape, count, processes)
        self.coarse = self.coarse or max(1, round(min(shape[1:]) / GRAIN))

    def adam(self, parameters: Any) -> torch.optim.Optimizer:
        """AMSGrad, with decay of the weights."""
        return torch.optim.Adam(parameters, lr=self.lr, weight_decay=self.weight_decay, amsgrad=True)
