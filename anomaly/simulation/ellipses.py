"""Waves and two ellipses, one of which the disease deforms: the toy cohort of Wolleb et al. 2020 (DeScarGAN).

Drawn anew from the published description. Lengths are in pixels of the protocol's 256 and scale with size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy import ndimage

from anomaly.simulation.toys import CHANGED, SHARES, Drawings, Drawn, Toy, collect, write_toy

SIDE = 256
AXES = ((40.0, 20.0), (70.0, 35.0))
"""Mean semi-axes of the two ellipses; their SD is 1 pixel."""
THICK, THICK_SD = 5.0, 0.7
PLACES, APART = (50, 200), 120.0
"""Centres lie in this range along both axes and this far apart, so that 40 + 70 pixels never meet."""
FREQUENCY = ((0.2, 0.35), (0.35, 0.5))
HEIGHT = (0.2, 0.4)
SMOOTH = 2.0
WARP, WARP_SD = 0.1, 0.19
"""Largest displacement and SD of the Gaussian whose gradient it is, on a scale that has the image in [-1, 1]."""


@dataclass(frozen=True, kw_only=True)
class Ellipses(Toy):
    """Two sums of concentric waves with two outlined ellipses; in cases the smaller ellipse is squeezed.

    Case and healthy twin are stretched alike, so that the twin fills [-1, 1]. The protocol's ellipses may leave the
    image to the left or above and come back on the other side; here all are inside.
    """

    kind: ClassVar[str] = "ellipses"
    leaves: ClassVar[tuple[str, ...]] = ("mask", "truth", "twin")
    count: int = 4_000
    size: int = SIDE

    def plan(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Every second image is a case; the geometry of both ellipses, in pixels of the protocol's 256."""
        while True:
            centres = rng.integers(*PLACES, size=(2, 2))
            angles = rng.uniform(0, 2 * np.pi, 2)
            axes = rng.normal(AXES, 1.0)
            if np.hypot(*(centres[0] - centres[1])) > APART and _inside(centres, axes, angles):
                break
        plan: dict[str, Any] = {"label": index % 2}
        for i, name in enumerate(("first", "second")):
            plan |= {f"{name}_row": int(centres[i, 0]), f"{name}_column": int(centres[i, 1])}
            plan |= {f"{name}_long": float(axes[i, 0]), f"{name}_short": float(axes[i, 1])}
            plan[f"{name}_angle"] = float(angles[i])
        return plan

    def draw(self, plan: Mapping[str, Any], rng: np.random.Generator) -> Drawn:
        """Draw the healthy image and, for a case, deform it."""
        twin = _stretched(self._healthy(plan, rng))
        if not plan["label"]:
            return Drawn(twin, np.zeros(twin.shape, bool), np.zeros_like(twin))
        image = squeezed(twin, plan["first_row"] * self.size / SIDE, plan["first_column"] * self.size / SIDE)
        truth = twin - image
        return Drawn(image, np.abs(truth) > CHANGED, truth)

    def floors(self, image: np.ndarray, healthy: np.ndarray, cases: np.ndarray) -> dict[str, np.ndarray]:
        """Mean difference of healthy and cases, the mean healthy image less this one, the image itself."""
        return {"mean_difference": healthy - cases, "mean_healthy": healthy - image, "raw": -image}

    def _healthy(self, plan: Mapping[str, Any], rng: np.random.Generator) -> np.ndarray:
        scale = self.size / SIDE
        row, column = (each / scale for each in np.mgrid[: self.size, : self.size].astype(np.float32))
        image = np.zeros(row.shape, np.float32)
        # The protocol's first waves have row and column of their centre exchanged, so only the second are concentric.
        centres = (plan["first_column"], plan["first_row"]), (plan["second_row"], plan["second_column"])
        for centre, frequencies in zip(centres, FREQUENCY, strict=True):
            distance = np.hypot(row - centre[0], column - centre[1])
            image += rng.uniform(*HEIGHT) * np.sin(distance * rng.uniform(*frequencies))
        for name in ("first", "second"):
            thick = max(1, round(rng.normal(THICK, THICK_SD)))
            image[_outline(plan, name, row, column, thick)] = 1
        smooth: np.ndarray = ndimage.gaussian_filter(image, SMOOTH * scale, mode="nearest", radius=max(1, round(scale)))
        return smooth


def squeezed(image: np.ndarray, row: float, column: float) -> np.ndarray:
    """Deform a square image so that what lies about (row, column), in pixels, shrinks; edges repeated.

    The value at p is taken from p - 0.1 grad g(p) / max |grad g|, g a Gaussian of SD 0.19 and [-1, 1] the image.
    """
    size = len(image)
    place = np.linspace(-1, 1, size)
    down, across = np.meshgrid(place - (2 * row / size - 1), place - (2 * column / size - 1), indexing="ij")
    bell = np.exp(-(down**2 + across**2) / (2 * WARP_SD**2))
    # |grad| is largest one SD from the centre: exp(-1/2) / SD.
    strength = WARP * bell * np.exp(0.5) / WARP_SD
    pixels = (size - 1) / 2
    source = np.mgrid[:size, :size] + pixels * strength * np.stack([down, across])
    taken: np.ndarray = ndimage.map_coordinates(image, source, order=1, mode="nearest", output=np.float32)
    return taken


def ellipses(count: int = 4_000, size: int = SIDE, seed: int = 0, *, parts: Sequence[str] = tuple(SHARES)) -> Drawings:
    """The ellipses in memory: n images (n, size, size) in [-1, 1], and healthy twin minus image.

    Half are cases. Wolleb et al. 2020, section 3. `parts`: which to draw.

    Raises:
        CohortError: count, size or seed out of range.
    """
    return collect(Ellipses(count=count, size=size, seed=seed), parts)


def simulate_ellipses(out: Path, *, count: int = 4_000, size: int = SIDE, seed: int = 0) -> Path:
    """Draw waves with two ellipses, one of them warped in cases (DeScarGAN's toy; 2 GB by default).

    Args:
        out: gets `cohort.csv`, `truth.json`, `preview.png`, `images/`, `masks/`, `truth/` and `twins/`.
        count: images, half of them cases.
        size: pixels of a side.
        seed: 0 or more; the same seed gives the same bytes.
    """
    return write_toy(Ellipses(count=count, size=size, seed=seed), Path(out))


def _inside(centres: np.ndarray, axes: np.ndarray, angles: np.ndarray) -> bool:
    """Whether both ellipses lie in the image of 256 pixels: half extents of the turned ellipse along both axes."""
    turn = np.stack([np.cos(angles), np.sin(angles)])
    down, across = np.hypot(*(axes.T * turn)), np.hypot(*(axes.T * turn[::-1]))
    reach = np.stack([down, across], axis=1)
    return bool((centres - reach >= 1).all() and (centres + reach <= SIDE - 2).all())


def _outline(plan: Mapping[str, Any], name: str, row: np.ndarray, column: np.ndarray, thick: int) -> np.ndarray:
    """Pixels of an outline, its outer edge half a pixel beyond the axes; the long axis lies along rows at angle 0."""
    down, across = row - plan[f"{name}_row"], column - plan[f"{name}_column"]
    cos, sin = np.cos(plan[f"{name}_angle"]), np.sin(plan[f"{name}_angle"])
    along, over = down * cos + across * sin, across * cos - down * sin
    outer, inner = plan[f"{name}_long"] + 0.5, plan[f"{name}_short"] + 0.5
    outside = (along / (outer - thick)) ** 2 + (over / (inner - thick)) ** 2 > 1
    inside: np.ndarray = (along / outer) ** 2 + (over / inner) ** 2 <= 1
    return inside & outside


def _stretched(image: np.ndarray) -> np.ndarray:
    low, high = image.min(), image.max()
    stretched: np.ndarray = 2 * (image - low) / (high - low) - 1
    return stretched
