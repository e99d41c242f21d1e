"""Squares in smooth noise: toy cohorts of Baumgartner et al. 2018 (VA-GAN) and Bigolin Lanfredi et al. 2020 (DeFI-GAN).

Drawn anew from the published descriptions; the protocol's figures are the defaults, and all lengths scale with size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy import ndimage

from anomaly.images.grids import resample
from anomaly.simulation.toys import CHANGED, SHARES, Drawings, Drawn, Toy, collect, write_toy

SIDE = 112
SD, EFFECT, SIGMA = 50.0, 100.0, 2.5
HALF, JITTER = 10, 5
OFFSET = 3.5
"""The second box of a case lies size / 3.5 (32 pixels of 112) from the centre along both axes."""

WIDE = 224
BACKGROUND, FOREGROUND, TEXTURE = -0.5, 0.5, 0.5
FILLED = 0.8
"""Side of a square of factor 1, as a share of the image."""
SCALE, SHAPE = 0.75, 7.0
SMALL = 0.7
"""Squares with a factor below this are cases."""
ZOOM = 1.3


@dataclass(frozen=True, kw_only=True)
class Squares(Toy):
    """Noise; cases have two bright boxes, in the centre and below to the right (A) or above to the left (B)."""

    kind: ClassVar[str] = "squares"
    count: int = 10_000
    size: int = SIDE

    @property
    def half(self) -> int:
        """Half the side of a box, pixels."""
        return round(HALF * self.size / SIDE)

    def plan(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Every second image is a case, every second case of subtype A; corners of its boxes, pixels."""
        label = index % 2
        plan: dict[str, Any] = {"label": label, "subtype": "AB"[index // 2 % 2] if label else ""}
        boxes = self.corners(plan["subtype"], rng) if label else [("", "")] * 2
        for name, (row, column) in zip(("first", "second"), boxes, strict=True):
            plan |= {f"{name}_row": row, f"{name}_column": column}
        return plan

    def corners(self, subtype: str, rng: np.random.Generator) -> list[tuple[Any, Any]]:
        """Upper left corners (row, column) of the two boxes."""
        jitter, offset = round(JITTER * self.size / SIDE), int(self.size / OFFSET + 0.5)
        start = self.size // 2 - self.half
        moved = start + (offset if subtype == "A" else -offset) + rng.integers(-jitter, jitter, size=2)
        return [(start, start), (int(moved[0]), int(moved[1]))]

    def draw(self, plan: Mapping[str, Any], rng: np.random.Generator) -> Drawn:
        """Noise of SD 50, the boxes 100 brighter, then stretched to [-1, 1], each image by its own extremes."""
        mask = np.zeros((self.size, self.size), bool)
        for name in ("first", "second") if plan["label"] else ():
            row, column = plan[f"{name}_row"], plan[f"{name}_column"]
            mask[row : row + 2 * self.half, column : column + 2 * self.half] = True
        image = SD * texture(self.size, SIGMA * self.size / SIDE, rng) + np.float32(EFFECT) * mask
        low, high = image.min(), image.max()
        return Drawn((2 * (image - low) / (high - low) - 1).astype(np.float32), mask)

    def floors(self, image: np.ndarray, healthy: np.ndarray, cases: np.ndarray) -> dict[str, np.ndarray]:
        """Mean difference of cases and healthy, the centre box alone, the image itself."""
        box = np.zeros(image.shape)
        middle = slice(self.size // 2 - self.half, self.size // 2 + self.half)
        box[middle, middle] = 1
        return {"mean_difference": cases - healthy, "centre_box": box, "raw": image}


@dataclass(frozen=True, kw_only=True)
class SquaresAnywhere(Squares):
    """The same with both boxes at random places, where they do not overlap: no fixed map can find them."""

    kind: ClassVar[str] = "squares-anywhere"

    def corners(self, subtype: str, rng: np.random.Generator) -> list[tuple[Any, Any]]:
        """Two corners, drawn until the boxes lie apart."""
        side = 2 * self.half
        while True:
            first, second = rng.integers(0, self.size - side + 1, size=(2, 2))
            if np.abs(first - second).max() >= side:
                return [(int(first[0]), int(first[1])), (int(second[0]), int(second[1]))]


@dataclass(frozen=True, kw_only=True)
class GrowingSquares(Toy):
    """Textured squares of random size, the small ones cases; what differs is not brightness but deformation.

    Values are the protocol's and are not stretched: -0.5 outside, 0.5 with texture of SD 0.5 inside, up to about 2.5.
    The truth is the same texture drawn as large as a healthy square, minus the image.
    """

    kind: ClassVar[str] = "growing-squares"
    leaves: ClassVar[tuple[str, ...]] = ("mask", "truth")
    count: int = 10_000
    size: int = WIDE

    def plan(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """`factor`, 0.75 Weibull(7) to two decimals, of the square; `healthy_factor` of a case's twin."""
        factor = _factor(rng)
        healthy = factor
        while healthy < SMALL:
            healthy = _factor(rng)
        return {"label": int(factor < SMALL), "factor": factor, "healthy_factor": healthy}

    def draw(self, plan: Mapping[str, Any], rng: np.random.Generator) -> Drawn:
        """Draw the square at factor 1, then shrink or enlarge the whole image about its centre."""
        half = int(self.size // 2 * FILLED)
        inside = slice(self.size // 2 - half, self.size // 2 + half)
        base = np.full((self.size, self.size), BACKGROUND, np.float32)
        noise = texture(self.size, SIGMA * self.size / WIDE, rng)
        base[inside, inside] = FOREGROUND + TEXTURE * noise[inside, inside]
        image = zoomed(base, plan["factor"])
        if not plan["label"]:
            return Drawn(image, np.zeros(image.shape, bool), np.zeros_like(image))
        truth = zoomed(base, plan["healthy_factor"]) - image
        return Drawn(image, np.abs(truth) > CHANGED, truth)

    def floors(self, image: np.ndarray, healthy: np.ndarray, cases: np.ndarray) -> dict[str, np.ndarray]:
        """Mean difference of healthy and cases; the image enlarged, or the mean healthy one, less the image."""
        return {
            "mean_difference": healthy - cases,
            "mean_healthy": healthy - image,
            "zoom": zoomed(image, ZOOM) - image,
            "raw": -image,
        }


def texture(size: int, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """White noise blurred by a Gaussian of `sigma` pixels and brought to SD 1, (size, size) float32."""
    noise = rng.standard_normal((size, size), dtype=np.float32)
    smooth: np.ndarray = ndimage.gaussian_filter(noise, sigma, mode="nearest")
    return smooth / smooth.std()


def zoomed(image: np.ndarray, factor: float) -> np.ndarray:
    """Enlarge a square image about its centre onto the same grid, edges repeated; blurred first where it shrinks.

    The new side is rounded to an even number of pixels, so that the centre stays in place.
    """
    size = len(image)
    step = size / (2 * max(1, round(size * factor / 2)))
    start = (size - 1) / 2 * (1 - step)
    return resample(image, np.array([[step, 0, start], [0, step, start], [0, 0, 1]]), image.shape, smooth=True)


def squares(
    count: int = 10_000,
    size: int = SIDE,
    seed: int = 0,
    *,
    anywhere: bool = False,
    parts: Sequence[str] = tuple(SHARES),
) -> Drawings:
    """The squares in memory, for a benchmark: n images (n, size, size) in [-1, 1], the boxes as masks.

    Half are cases, with a box in the centre and one at +-(32, 32) of 112 pixels, jittered by -5 to +4 along each
    axis, or with both boxes anywhere. Baumgartner et al. 2018, section 4.1. `parts`: which to draw.

    Raises:
        CohortError: count, size or seed out of range.
    """
    kind = SquaresAnywhere if anywhere else Squares
    return collect(kind(count=count, size=size, seed=seed), parts)


def growing_squares(
    count: int = 10_000, size: int = WIDE, seed: int = 0, *, parts: Sequence[str] = tuple(SHARES)
) -> Drawings:
    """The growing squares in memory: n images (n, size, size), -0.5 to about 2.5, and the true differences.

    About 44 % are cases, squares with a factor below 0.7. Bigolin Lanfredi et al. 2020, section 3.1; there, one
    seed gives the same 10,000 images to train, to choose and to test by; here each part has its own random stream.

    Raises:
        CohortError: count, size or seed out of range.
    """
    return collect(GrowingSquares(count=count, size=size, seed=seed), parts)


def simulate_squares(out: Path, *, count: int = 10_000, size: int = SIDE, seed: int = 0) -> Path:
    """Draw smoothed noise where cases have two bright squares, one in the middle (VA-GAN's toy; 500 MB by default).

    Args:
        out: gets `cohort.csv`, `truth.json`, `preview.png`, `images/`, `masks/` and, where things move, `truth/`.
        count: images, half of them cases.
        size: pixels of a side.
        seed: 0 or more; the same seed gives the same bytes.
    """
    return write_toy(Squares(count=count, size=size, seed=seed), Path(out))


def simulate_squares_anywhere(out: Path, *, count: int = 10_000, size: int = SIDE, seed: int = 0) -> Path:
    """Draw smoothed noise where cases have two bright squares at random places: no fixed map can find them.

    Args:
        out: gets `cohort.csv`, `truth.json`, `preview.png`, `images/`, `masks/` and, where things move, `truth/`.
        count: images, half of them cases.
        size: pixels of a side.
        seed: 0 or more; the same seed gives the same bytes.
    """
    return write_toy(SquaresAnywhere(count=count, size=size, seed=seed), Path(out))


def simulate_growing_squares(out: Path, *, count: int = 10_000, size: int = WIDE, seed: int = 0) -> Path:
    """Draw textured squares that are smaller in cases: what is there moves (DeFI-GAN's toy; 3 GB by default).

    Args:
        out: gets `cohort.csv`, `truth.json`, `preview.png`, `images/`, `masks/` and, where things move, `truth/`.
        count: images, half of them cases.
        size: pixels of a side.
        seed: 0 or more; the same seed gives the same bytes.
    """
    return write_toy(GrowingSquares(count=count, size=size, seed=seed), Path(out))


def _factor(rng: np.random.Generator) -> float:
    return round(float(SCALE * rng.weibull(SHAPE)), 2)
