"""Restorers: what they are shown, what counts, and which settings belong to which degradation."""

import pytest
import torch
from tiny import CPU, normals, tiny
from torch import nn

from anomaly.degradations.register import DEGRADATIONS
from anomaly.detectors import DAE, Restoration, RestoringDetector
from anomaly.detectors.restoring import sizes
from anomaly.errors import AnomalyError


class Painter(nn.Module):
    """Draws one level wherever pixels are not known, and remembers what it was shown."""

    def __init__(self, level: float) -> None:
        super().__init__()
        self.level, self.shown = nn.Parameter(torch.tensor(level)), []

    def forward(self, y, known=None):
        self.shown.append(y)
        drawn = self.level.expand_as(y)
        return drawn if known is None else torch.where(known, y, drawn)


def made(level: float = 0.25, *, masked: bool = False, **settings) -> Restoration:
    detector = Restoration(**settings)
    detector.fill_in((1, 16, 16), 8)
    detector.shape_, detector.masked_ = (1, 16, 16), masked
    detector.net_ = detector.build(detector.shape_)
    detector.net_["restorer"] = Painter(level)
    return detector


@pytest.mark.parametrize("degradation", ["mask", "border"])
def test_every_pixel_is_drawn_by_a_view_that_does_not_know_it(degradation):
    detector, x = made(degradation=degradation), normals(3, (1, 16, 16))
    assert torch.equal(detector.draw(x).mean, torch.full_like(x, 0.25))
    shown = detector.net_["restorer"].shown
    assert len(shown) == 2 and not any(torch.equal(each, x) for each in shown)


def test_a_denoiser_is_shown_the_image_itself():
    detector, x = made(degradation="noise"), normals(3, (1, 16, 16))
    detector.draw(x)
    (shown,) = detector.net_["restorer"].shown
    assert torch.equal(shown, x)


def test_the_loss_is_the_mean_over_pixels_that_are_not_known():
    x = torch.full((4, 1, 16, 16), -0.5)
    loss = made(0.25, degradation="mask").loss(x)
    assert loss.item() == pytest.approx(0.75)  # of known pixels the difference would be 0, and the mean lower


@pytest.mark.parametrize("degradation", ["noise", "mask", "downsample", "lowdose"])
def test_outside_a_mask_nothing_is_put_in_and_nothing_counts(degradation):
    x = torch.full((2, 1, 16, 16), -0.5)
    x[..., :5] = -1
    detector = made(0.25, masked=True, degradation=degradation)
    assert detector.loss(x).item() == pytest.approx(0.75)
    detector.draw(x)
    for shown in detector.net_["restorer"].shown:
        assert (shown[..., :5] == -1).all()
    assert (detector.reconstruct(x)[..., :5] == -1).all()
    other = x.clone()
    other[..., :5] = -1
    assert torch.equal(detector.score(x).value, detector.score(other).value)


def test_structure_is_told_apart_in_the_curves():
    loss, terms = made(degradation="noise", ssim=0.5).loss(normals(4, (1, 16, 16)))
    assert loss.item() == pytest.approx((terms["l1"] + 0.5 * terms["ssim"]).item())


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"factor": 3}, "factor=3 is no setting of noise, which has noise_sigma, coarse"),
        ({"degradation": "mask", "noise_sigma": 0.1}, "noise_sigma=0.1 is no setting of mask"),
        ({"degradation": "downsample", "thick": True}, "thick=True is no setting of downsample, which has factor"),
        ({"degradation": "kspace", "axis": 4}, "axis is 4; take 1 to 3"),
        ({"degradation": "lowdose", "hounsfield": "5"}, "hounsfield=5 is no pair of numbers"),
        ({"degradation": "slices", "factor": 1}, "factor of slices is 1"),
        ({"network": "redcnn", "levels": 2}, "levels=2 is a setting of network=unet"),
    ],
)
def test_a_setting_that_is_not_of_the_degradation_is_refused(settings, complaint):
    with pytest.raises(AnomalyError, match=complaint):
        Restoration(**settings)


@pytest.mark.parametrize("degradation", DEGRADATIONS)
def test_what_nobody_set_is_filled_in_with_the_degradations_own(degradation):
    detector = Restoration(degradation=degradation)
    own = DEGRADATIONS[degradation]()
    assert detector.made == own
    detector.fill_in((1, 32, 32, 32), 8)
    assert detector.made == own and Restoration(**detector.settings()) == detector


def test_settings_reach_the_degradation():
    slices = Restoration(degradation="slices", factor=3, axis=1, thick=True).made
    assert (slices.factor, slices.axis, slices.thick) == (3, 0, True)
    assert Restoration(degradation="lowdose", hounsfield="-1000,400", dose=0.1).made.hounsfield == (-1000, 400)
    assert Restoration(noise_sigma=0.3, coarse=2).made.sigma == 0.3


def test_slices_are_filled_in_volumes_and_refused_in_pictures():
    settings = {"degradation": "slices", "noise_sigma": 0.0, "coarse": 0, "steps": 3}
    detector = tiny("restoration", **settings).fit(normals(6, (1, 8, 8, 8)), machine=CPU)
    assert detector.score(normals(2, (1, 8, 8, 8), seed=3)).map.shape == (2, 1, 8, 8, 8)
    with pytest.raises(AnomalyError, match="takes slices from volumes"):
        tiny("restoration", **settings).fit(normals(6, (1, 8, 8)), machine=CPU)


def test_restoring_keeps_what_is_known_and_takes_other_sides():
    detector = made(0.25, degradation="mask")
    y, known = torch.full((1, 1, 20, 24), -0.5), torch.zeros(1, 1, 20, 24, dtype=torch.bool)
    known[..., :10, :] = True
    drawn = detector.restored(y, known)
    assert (drawn[..., :10, :] == -0.5).all() and (drawn[..., 10:, :] == 0.25).all()
    with pytest.raises(AnomalyError, match=r"\(2, 20, 24\).*fitted on \(1, 16, 16\)"):
        detector.restored(torch.zeros(1, 2, 20, 24))


def test_learning_to_fill_in_beats_the_middle_of_the_range():
    x, unseen = normals(40, (1, 16, 16), seed=1), normals(8, (1, 16, 16), seed=2)
    settings = {"degradation": "downsample", "factor": 2, "noise_sigma": 0.0, "coarse": 0, "steps": 200}
    detector = tiny("restoration", **settings).fit(x, machine=CPU)
    left = detector.made.degrade(unseen).image
    assert (detector.restored(left) - unseen).abs().mean() < 0.7 * (left - unseen).abs().mean()


def test_grains_of_the_denoiser_grow_with_the_images():
    for side, coarse in ((16, 1), (64, 4), (128, 8)):
        detector = DAE()
        detector.fill_in((1, side, 2 * side), 100)
        assert detector.made.coarse == coarse and detector.made.sigma == 0.2
    assert DAE(coarse=3).made.coarse == 3


def test_the_denoiser_learns_as_published():
    detector: RestoringDetector = DAE(lr=1e-4)
    optimiser = detector.adam([nn.Parameter(torch.zeros(1))])
    (group,) = optimiser.param_groups
    assert (group["amsgrad"], group["lr"], group["weight_decay"]) == (True, 1e-4, 1e-5)


def test_sizes_stop_at_sixteen_pixels_and_at_four():
    assert [sizes((1, side, side)) for side in (16, 32, 64, 128, 512)] == [2, 2, 3, 4, 4]


def test_maps_lose_specks_by_a_median_and_the_rim_of_masks():
    x = torch.full((1, 1, 16, 16), 0.25)
    x[..., 4, 4] = 1.0
    x[..., 8:12, 8:12] = 1.0
    plain, filtered = (made(0.25, smooth=0.0, median=width).score(x).map for width in (0.0, 12.0))  # 3 pixels of 16
    assert plain[..., 4, 4] == 0.75 and filtered[..., 4, 4] == 0
    assert (filtered[..., 9:11, 9:11] == 0.75).all()
    x[..., :2] = -1
    detector = made(0.0, masked=True, smooth=0.0, erode=8.0)  # 2 pixels
    map_ = detector.score(x).map
    assert (map_[..., 2:4] == 0).all() and (map_[..., 4:] > 0).all()


def test_a_rim_without_masks_is_refused():
    with pytest.raises(AnomalyError, match="erode=2 is of masks, and these images have none"):
        tiny("dae", erode=2.0).fit(normals(8, (1, 16, 16)), machine=CPU)
