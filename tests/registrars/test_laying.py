"""One image laid on another: never worse than it began, and told where it is no better."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from anomaly.images import Image
from anomaly.registrars.laying import APART, NOT_DEFORMED, _warnings, lay

pytest.importorskip("SimpleITK")


def head(space: tuple[int, ...], seed: int = 0, begin: float = 0.0) -> Image:
    """Texture within a ball, black around it; thick slices."""
    random = np.random.default_rng(seed)
    ball = (np.stack(np.meshgrid(*[np.linspace(-1, 1, side) for side in space], indexing="ij")) ** 2).sum(0) < 0.6
    texture = sum(each / each.std() for each in (ndimage.gaussian_filter(random.normal(size=space), sigma)
                                                 for sigma in (1.5, 4)))  # fmt: skip
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[0, 3] = begin
    return Image((ball * (100 + 25 * texture))[None].astype(np.float32), affine, Path("head.nii"), "nifti")


@pytest.mark.parametrize("seed", [0, 1])
def test_a_perfect_start_is_not_left(seed: int) -> None:
    image = head((24, 24, 12), seed)
    found = lay(image, image, start="affine", metric="mutual-information")
    assert found.quality["correlation_after"] > 0.99 and found.warning == ""


def test_a_small_volume_is_found_by_mutual_information() -> None:
    fixed = head((24, 24, 12), 1)
    turned = ndimage.rotate(fixed.pixels[0], 6, reshape=False, order=1)
    moving = Image(ndimage.shift(turned, [1.3, -0.7, 0.4], order=1)[None], fixed.affine, Path("turned.nii"), "nifti")
    assert lay(moving, fixed, start="affine", metric="mutual-information").quality["correlation_after"] > 0.9


class Wild:
    """Deforms what need not be deformed."""

    name = "wild"

    def field(self, moving: np.ndarray, fixed: np.ndarray, **_: object) -> np.ndarray:
        return np.full((fixed.ndim - 1, *fixed.shape[1:]), 3, dtype=np.float32)


@pytest.mark.parametrize("metric", ["correlation", "mutual-information"])
def test_a_deformation_that_is_worse_than_its_start_is_left_out(metric: str) -> None:
    image = head((24, 24, 12))
    found = lay(image, image, start="rigid", deformable=Wild(), metric=metric)
    assert found.quality["correlation_after"] > 0.99 and found.quality["moved"] == 0
    assert found.warning == NOT_DEFORMED


def test_fields_of_view_that_lie_apart_are_told(capfd: pytest.CaptureFixture[str]) -> None:
    found = lay(head((24, 24, 16), begin=500.0), head((24, 24, 16)), start="rigid")
    assert np.isnan(found.quality["correlation_before"]) and found.quality["correlation_after"] > 0.99
    assert found.warning == APART and "WARNING" not in capfd.readouterr().err


def told(metric: str, *figures: float) -> str:
    names = ("correlation_before", "correlation_after", "mutual_information_before", "mutual_information_after")
    return "; ".join(_warnings({"overlap": 1.0, **dict(zip(names, figures, strict=True))}, metric))


def test_what_is_no_better_is_told_and_what_is_better_is_not() -> None:
    mutual, nan = "mutual-information", float("nan")
    assert told(mutual, 0.95, 0.96, 0.8606, 0.8652) == ""
    assert "no better than before: 1.0800 before, 0.2300 after" in told(mutual, 0.99, 0.3, 1.08, 0.23)
    assert "correlation is -0.47 at the end: look at the picture" in told(mutual, nan, -0.47, nan, 0.2)
    assert "correlation is 0.20 at the end" in told(mutual, 0.5, 0.2, 0.3, 0.4)
    assert told(mutual, -0.5, -0.7, 0.3, 0.4) == ""
    assert "mutual information fell from 0.861 to 0.847: another contrast?" in told(
        "correlation", 0.956, 0.973, 0.861, 0.847
    )
    assert "another contrast?" in told("correlation", 0.1, 0.2, 0.3, 0.4)
    assert told("correlation", 1.0, 1.0, 1.2, 1.2) == ""
