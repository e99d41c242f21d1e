"""A method of one's own that draws classes apart, without any training: each class by its mean image."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from anomaly.detectors import Detector


@dataclass(kw_only=True)
class Prototypes(Detector):
    """The code is noise, which brightens an image, and the number of its class."""

    name: ClassVar[str] = "prototypes"
    summary: ClassVar[str] = "the mean image of each class"
    cite: ClassVar[str] = "nobody"
    generates: ClassVar[bool] = True
    conditional: ClassVar[bool] = True
    classes: int = 0
    latent: int = 1

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        net = nn.Module()
        net.register_buffer("means", torch.zeros(max(1, self.classes), *shape))
        return net

    def practise(self, normals: Any, held_out: Any, *, classes: Any = None, **machinery: Any) -> None:
        x, which = torch.tensor(normals), classes
        means = [x[torch.as_tensor(which == k)].mean(0) for k in range(self.classes)] if self.classes else [x.mean(0)]
        self.net_.means.copy_(torch.stack(means))

    def error(self, x: Tensor) -> Tensor:
        return (x - self.net_.means.mean(0)).abs().mean(1, keepdim=True)

    def mapped(self, noise: Tensor, classes: Tensor | None = None) -> Tensor:
        which = torch.zeros(len(noise)) if classes is None else classes
        return torch.cat([noise, which[:, None].to(noise)], dim=1)

    def decode(self, code: Tensor) -> Tensor:
        means = self.net_.means[code[:, 1].long()]
        return means + code[:, 0].view(-1, *[1] * (means.ndim - 1)) / 20
