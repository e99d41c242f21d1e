"""The gradient of the target at the image, as it is or smoothed."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from explain.attributions.base import Attribution, gradient, shaken
from explain.base import Explanation


@dataclass(kw_only=True)
class Saliency(Attribution):
    """The gradient of the target, signed: positive where more intensity would raise it."""

    name: ClassVar[str] = "saliency"
    summary: ClassVar[str] = "gradient of the target at the image"
    cite: ClassVar[str] = "Simonyan et al. 2014"

    def evidence(self, x: Tensor) -> Explanation:
        """df/dx of every image."""
        from captum import attr

        method = attr.Saliency(self.ask)
        slopes = [method.attribute(image.requires_grad_(), abs=False) for image in x.split(1)]
        return Explanation(torch.cat(slopes).sum(1, keepdim=True))


@dataclass(kw_only=True)
class SmoothGrad(Attribution):
    """The gradient of the target, signed, averaged over the image with noise: what a small change would not undo.

    Mean of df/dx at x + e over e from N(0, s^2) (Smilkov et al. 2017, section 3). Each noise comes with both signs,
    which leaves the mean as it is and takes away most of what is left to chance, all of it for a quadratic target.
    All images meet the same noise, so that an explanation does not depend on its batch.

    Args:
        noise: s, as a share of the range of the image; the paper finds 0.1 to 0.2 best.
        samples: images with noise.
        batch: how many of them go through the target at once.
    """

    name: ClassVar[str] = "smooth-grad"
    summary: ClassVar[str] = "gradient of the target, averaged over the image with noise"
    cite: ClassVar[str] = "Smilkov et al. 2017"
    positive: ClassVar[tuple[str, ...]] = ("samples", "batch")
    not_negative: ClassVar[tuple[str, ...]] = ("noise",)
    noise: float = 0.15
    samples: int = 50
    batch: int = 32

    def evidence(self, x: Tensor) -> Explanation:
        """The mean gradient around every image."""
        return Explanation(torch.cat([self._smoothed(image) for image in x.split(1)]).sum(1, keepdim=True))

    def _smoothed(self, image: Tensor) -> Tensor:
        total = torch.zeros_like(image)
        for around in shaken(image, self.noise, self.samples, self.batch):
            around.requires_grad_()
            total += gradient(self.ask(around), around).sum(0, keepdim=True)
        return total / self.samples
