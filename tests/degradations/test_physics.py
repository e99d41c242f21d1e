"""K-space, photons and projections, against closed forms."""

from math import pi, sqrt

import pytest
import torch
from torch import Tensor

from anomaly.degradations.fourier import KSpace
from anomaly.degradations.photons import LowDose
from anomaly.degradations.projection import back, project


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=seeded(9)) * 2 - 1


def disc(side: int, radius: float) -> Tensor:
    """A disc of 1 in the middle of a picture, its edge as many parts of a pixel as lie within, (1, side, side)."""
    places = (torch.arange(side * 8) + 0.5) / 8 - side / 2
    within = (places[:, None] ** 2 + places[None] ** 2 < radius**2).float()
    return torch.nn.functional.avg_pool2d(within[None], 8)


@pytest.mark.parametrize("shape", [(2, 1, 16, 15), (2, 1, 8, 7, 6)])
@pytest.mark.parametrize("pattern", ["random", "equispaced"])
def test_all_of_k_space_gives_the_image(shape: tuple[int, ...], pattern: str) -> None:
    x = images(*shape)
    torch.testing.assert_close(KSpace(acceleration=1, pattern=pattern).measured(x), x, rtol=0, atol=1e-6)


@pytest.mark.parametrize("pattern", ["random", "equispaced"])
@pytest.mark.parametrize(
    ("width", "acceleration", "kept", "low"), [(64, 4, 16, 5), (100, 8, 12, 4), (320, 4, 80, 26), (63, 5, 13, 4)]
)
def test_as_many_columns_are_kept_as_promised(
    width: int, acceleration: float, kept: int, low: int, pattern: str
) -> None:
    columns = KSpace(acceleration=acceleration, pattern=pattern).columns(width, 200, seeded())
    assert columns.sum(1).unique().tolist() == [kept]
    first = width // 2 - low // 2
    assert columns[:, first : first + low].all() or columns[:, first + 1 : first + 1 + low].all()
    assert columns[:, width // 2].all()
    # No other column is always kept, or never.
    assert columns.float().mean(0).min() > 0 and int(columns.all(0).sum()) == low


def test_equispaced_columns_lie_equally_far_apart() -> None:
    kspace = KSpace(acceleration=4, pattern="equispaced")
    for chosen in kspace.columns(64, 20, seeded()):
        low = torch.zeros(64, dtype=torch.bool)
        low[30:35] = True
        others = chosen[~low].nonzero().flatten()
        assert len(others) == 11 and others.diff().min() >= 5 and others.diff().max() <= 6


def test_the_energy_that_is_kept_is_that_of_the_columns() -> None:
    # Parseval: with a unitary transform the squares of the magnitude sum to those of the columns that were kept.
    x, kspace = images(3, 1, 12, 32), KSpace(acceleration=4)
    y = kspace.measured(x, seeded()) + 1
    columns = torch.fft.ifftshift(kspace.columns(32, 3, seeded()), dim=1)
    energy = torch.fft.fft2(x + 1, norm="ortho").abs().square() * columns[:, None, None]
    torch.testing.assert_close(y.square().sum((1, 2, 3)), energy.sum((1, 2, 3)))
    full = KSpace(acceleration=1).measured(x) + 1
    torch.testing.assert_close(full.square().sum(), (x + 1).square().sum())


def test_what_varies_along_columns_alone_is_kept_whole() -> None:
    # All its energy lies in the column of frequency 0.
    x = images(2, 1, 16, 1).expand(2, 1, 16, 32)
    torch.testing.assert_close(KSpace().measured(x), x, rtol=0, atol=1e-6)
    other = x.transpose(2, 3)
    torch.testing.assert_close(KSpace(phase=0).measured(other), other, rtol=0, atol=1e-6)
    assert not torch.allclose(KSpace(phase=1).measured(other), other, atol=0.1)


def test_a_volume_is_transformed_slice_by_slice() -> None:
    x = images(1, 1, 16, 24, 3)
    flat = KSpace().measured(x[..., 0], seeded())
    torch.testing.assert_close(KSpace().measured(x, seeded())[..., 0], flat)
    torch.testing.assert_close(KSpace(axis=0).measured(x.movedim(-1, 2), seeded())[:, :, 0], flat)


def test_rays_through_a_disc_are_as_long_as_its_chords() -> None:
    sinogram = project(disc(65, 20.0), 12)[0]
    t = torch.arange(sinogram.shape[-1]) - (sinogram.shape[-1] - 1) / 2
    chord = 2 * (20.0**2 - t**2).clamp(min=0).sqrt()
    inner = t.abs() < 19
    assert (sinogram - chord)[:, inner].abs().max() < 0.5  # of 40 pixels
    torch.testing.assert_close(sinogram.sum(1), torch.full((12,), pi * 20**2), rtol=0.01, atol=0)
    assert sinogram[:, t.abs() > 22].abs().max() == 0


def test_a_spot_is_seen_where_the_angle_says() -> None:
    x = torch.zeros(1, 21, 31)
    x[0, 10, 25] = 1  # 10 pixels along the last axis from the middle
    sinogram = project(x, 4)[0]  # 0, 45, 90 and 135 degrees
    middle = (sinogram.shape[1] - 1) // 2
    assert sinogram[0].argmax() == middle + 10 and sinogram[2].argmax() == middle
    assert sinogram[1].argmax() == middle + round(10 / sqrt(2)) == 2 * middle - int(sinogram[3].argmax())
    torch.testing.assert_close(sinogram[0, middle + 10], torch.tensor(1.0))


@pytest.mark.parametrize(("height", "width"), [(65, 65), (64, 48)])
def test_back_projection_undoes_projection(height: int, width: int) -> None:
    y, x = torch.arange(height) - height / 2 + 3, torch.arange(width) - width / 2 - 4
    smooth = torch.exp(-(y[:, None] ** 2 + x[None] ** 2) / (2 * 5**2))[None]
    again = back(project(smooth, 120), height, width)
    assert (again - smooth).abs().max() < 0.02


def test_in_the_image_variance_equals_the_mean_in_counts() -> None:
    lowdose = LowDose(dose=0.25, photons=60)
    assert lowdose.intensity() == pytest.approx(20)  # 1 / 20 = (1 / 0.25 - 1) / 60
    x = torch.tensor([-0.5, 0.0, 1.0]).expand(1, 1, 20000, 3)
    counts = (lowdose.measured(x, seeded()) + 1) / 2 * 20
    expected = torch.tensor([5.0, 10.0, 20.0])
    found = counts.flatten(0, 2)
    # The variance of a sample of Poisson variance m has about 2 m^2 / n + m / n.
    assert ((found.mean(0) - expected).abs() < 5 * (expected / 20000).sqrt()).all()
    assert ((found.var(0) - expected).abs() < 5 * ((2 * expected**2 + expected) / 20000).sqrt()).all()
    torch.testing.assert_close(found, found.round(), rtol=0, atol=1e-4)
    assert torch.equal(lowdose.measured(torch.full((1, 1, 4, 4), -1.0)), torch.full((1, 1, 4, 4), -1.0))


@pytest.mark.parametrize("hounsfield", [(), (-1000, 1000)])
def test_the_full_dose_is_the_image_to_the_bit(hounsfield: tuple[float, ...]) -> None:
    x = images(2, 1, 8, 8)
    assert torch.equal(LowDose(dose=1, hounsfield=hounsfield).measured(x), x)


def test_noise_of_rays_through_air_is_as_filtered_back_projection_makes_it() -> None:
    # Nothing absorbs: each ray has the variance 1 / I. In the middle element a beam falls on, its ramp has the variance
    # sum of h^2 = 1/16 + 2 (pi^4 / 96) / pi^4 = 1/12; pi / A times the sum of A beams has (pi^2 / A) / 12 of that.
    # Linear interpolation loses some of it except where a pixel's centre meets a detector's, as in the middle.
    lowdose = LowDose(dose=0.5, photons=1e6, hounsfield=(-1000, 1000), beams=48)
    assert lowdose.intensity() == pytest.approx(1e6)
    y = lowdose.measured(torch.full((600, 1, 21, 21), -1.0), seeded())
    attenuation = (y[:, 0, 10, 10] + 1) * 0.02  # 1000 units of 2000 are 1 of the range of 2: water's, per mm
    expected = pi**2 / 48 / 12 / 1e6
    assert abs(float(attenuation.var()) / expected - 1) < 5 * sqrt(2 / 600) + 0.02
    assert abs(float(attenuation.mean())) < 5 * sqrt(expected / 600)


def test_less_dose_and_longer_paths_mean_more_noise() -> None:
    body = disc(33, 14.0)[:, None] - 1  # water in air, the window being -1000 to 1000

    def noise(x: Tensor, **settings: float) -> float:
        many = x.expand(40, -1, -1, -1)
        taken = LowDose(hounsfield=(-1000, 1000), **settings).measured(many, seeded()) - many
        return float(taken[:, 0, 16, 16].std())

    assert noise(body, dose=0.1) > 1.3 * noise(body, dose=0.25) > 1.3**2 * noise(body, dose=0.5)
    # sqrt(exp(28 * 0.02 * 2)) = 1.75 for the longest rays.
    assert 1.5 < noise(body, spacing=2) * 2 / noise(torch.full_like(body, -1.0)) < 2.0


def test_a_volume_is_scanned_slice_by_slice() -> None:
    x = images(2, 1, 12, 10, 3)
    lowdose = LowDose(hounsfield=(-1000, 500), photons=1e12)
    assert lowdose.measured(x).shape == x.shape
    torch.testing.assert_close(lowdose.measured(x), x, rtol=0, atol=1e-3)
