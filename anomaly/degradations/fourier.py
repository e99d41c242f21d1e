"""Undersampled k-space: a faster scan, which leaves out lines of the Fourier transform that it measures."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch
from torch import Generator, Tensor

from anomaly.degradations.base import Degradation, Degraded
from anomaly.errors import AnomalyError

PATTERNS = ("random", "equispaced")


@dataclass(frozen=True, kw_only=True)
class KSpace(Degradation):
    """Columns of k-space left out: magnitude of the zero-filled image, black being 0.

    Of W columns exactly round(W / acceleration) are kept: the round(centre W) of lowest frequency, the others drawn
    among the rest, anew for each image; all slices of a volume have the same. An image is taken for the whole truth:
    real, of one coil, without noise and without the phase that a scanner's images have.

    Args:
        acceleration: columns for one that is kept; 1 keeps all.
        centre: share of the columns, those of lowest frequency, that is kept always; 0 for 0.32 / acceleration, which
            is 0.08 at 4 and 0.04 at 8.
        pattern: "random" or "equispaced": the others drawn freely, or at equal distances from a place that is drawn.
        axis: of volumes: along which the slices lie that are transformed one by one, once volumes are turned to their
            `orientation`: with RAS, the usual one, 0 is left-right, 1 posterior-anterior, 2 inferior-superior.
        phase: which of the two axes of a slice is undersampled: 0 or 1.
    """

    name: ClassVar[str] = "kspace"
    summary: ClassVar[str] = "columns of k-space left out, the rest filled with zeros"
    cite: ClassVar[str] = "Zbontar et al. 2018 (fastMRI)"
    whole: ClassVar[bool] = True
    bounds: ClassVar[dict[str, tuple[float, float]]] = {
        "acceleration": (1, inf),
        "centre": (0, 1),
        "axis": (0, 2),
        "phase": (0, 1),
    }
    acceleration: float = 4.0
    centre: float = 0.0
    pattern: str = "random"
    axis: int = 2
    phase: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pattern not in PATTERNS:
            raise AnomalyError(f"pattern of {self.name} is {self.pattern!r}; take one of {', '.join(PATTERNS)}")

    def refuse(self, shape: tuple[int, ...]) -> None:
        """Several channels, and so few columns that the centre is more than all that is kept, or nothing."""
        channels, *space = shape
        if channels > 1:
            raise AnomalyError(f"{self.name} of {channels} channels has no meaning; give images of one")
        width = space[self._plane(len(space))[self.phase]]
        kept, low = self._kept(width)
        if kept < 1 or low > kept or (low < 1 and kept < width):
            raise AnomalyError(
                f"{self.name} would keep {kept} of {width} columns, {low} of them for the centre; "
                "give larger images, a smaller acceleration or another centre"
            )

    def measured(self, x: Tensor, random: Generator | None = None) -> Tensor:
        """Magnitude of the zero-filled images, its zero at -1; it may pass 1 a little."""
        self.refuse(tuple(x.shape[1:]))
        return self._filled(x, self.columns(x.shape[self._width(x)], len(x), random, x.device))

    def views(self, x: Tensor) -> Iterator[Degraded]:
        """One view, the same columns for every image."""
        self.refuse(tuple(x.shape[1:]))
        columns = self.columns(x.shape[self._width(x)], 1, torch.Generator().manual_seed(0))
        yield Degraded(self._filled(x, columns.to(x.device)))

    def columns(
        self, width: int, count: int, random: Generator | None = None, device: torch.device | str = "cpu"
    ) -> Tensor:
        """Which columns are kept, for each of `count` images, (count, width) bool, frequency 0 at width // 2."""
        kept, low = self._kept(width)
        chosen = torch.zeros(count, width, dtype=torch.bool, device=device)
        first = (width - low + 1) // 2
        chosen[:, first : first + low] = True
        others = (~chosen[0]).nonzero().flatten()
        many = kept - low
        if self.pattern == "random":
            picked = torch.rand(count, len(others), generator=random, device=device).argsort(1)[:, :many]
        else:
            # In double precision, so that no two places are rounded to one column.
            begin = torch.rand(count, 1, generator=random, device=device).double()
            picked = ((torch.arange(many, device=device) + begin) * (len(others) / max(1, many))).long()
        return chosen.scatter_(1, others[picked], True)

    def _kept(self, width: int) -> tuple[int, int]:
        """How many columns are kept, and how many of them for the centre."""
        kept = round(width / self.acceleration)
        return kept, min(round(width * (self.centre or 0.32 / self.acceleration)), width)

    def _plane(self, dims: int) -> list[int]:
        return [axis for axis in range(dims) if dims == 2 or axis != self.axis]

    def _width(self, x: Tensor) -> int:
        """The axis of images along which columns lie."""
        return self._plane(x.ndim - 2)[self.phase] + 2

    def _filled(self, x: Tensor, columns: Tensor) -> Tensor:
        plane = [axis + 2 for axis in self._plane(x.ndim - 2)]
        spectrum = torch.fft.fft2(x.float() + 1, dim=plane, norm="ortho")
        shape = [len(columns), *[1] * (x.ndim - 1)]
        shape[self._width(x)] = columns.shape[1]
        measured = spectrum * torch.fft.ifftshift(columns, dim=1).view(shape)
        return (torch.fft.ifft2(measured, dim=plane, norm="ortho").abs() - 1).to(x.dtype)
