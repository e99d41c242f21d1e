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
    (residual,) = {float(value) for value in detector.score(x).parts["l1"]}
    assert residual == pytest.approx(0.75)  # of the pixels within alone; over all of them it would be 11 / 16 of it


@pytest.mark.parametrize(("objective", "expected"), [("l1", 0.51), ("l2", 0.291)])
def test_the_objective_is_the_mean_of_absolute_or_of_squared_differences(objective, expected):
    """Of ten pixels within the mask one is 0.75 off, three are 0.25 off and six 0.6 off; those outside do not count."""
    x = torch.full((1, 1, 16, 16), -1.0)
    within = x.view(-1)[100:110]
    within[:] = torch.tensor([-0.5, *[0.0] * 3, *[-0.35] * 6])
    loss = made(0.25, masked=True, degradation="noise", objective=objective).loss(x)
    assert loss.item() == pytest.approx(expected)  # (0.75 + 3 x 0.25 + 6 x 0.6) / 10, (0.5625 + 0.1875 + 2.16) / 10


def test_squared_differences_are_what_is_learned_by():
    """Of values 0, 0 and 3 the least absolute difference is at the median, the least squared one at the mean."""
    x = torch.zeros(3, 1, 16, 16)
    x[2] = 0.75
    for objective, best in (("l1", 0.0), ("l2", 0.25)):
        detector = made(0.5, degradation="noise", objective=objective)
        (level,) = detector.net_["restorer"].parameters()
        losses = {}
        for at in (0.0, 0.125, 0.25, 0.375, 0.5):
            level.data.fill_(at)
            losses[at] = detector.loss(x).item()
        assert min(losses, key=losses.__getitem__) == best
    with pytest.raises(AnomalyError, match="objective=l3"):
        DAE(objective="l3")


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
    with pytest.raises(AnomalyError, match=r"fill in what mask takes.*give known, \(1, 1, 20, 24\) bool"):
        detector.restored(y)
    with pytest.raises(AnomalyError, match=r"known is torch.float32 of shape \(1, 1, 20, 24\); expected bool"):
        detector.restored(y, known.float())
    with pytest.raises(AnomalyError, match=r"of shape \(1, 1, 10, 24\); expected bool, \(1, 1, 20, 24\)"):
        detector.restored(y, known[..., :10, :])
    with pytest.raises(AnomalyError, match=r"\(2, 20, 24\).*fitted on \(1, 16, 16\)"):
        detector.restored(torch.zeros(1, 2, 20, 24))


@pytest.mark.parametrize("thick", [False, True])
def test_of_thin_slices_it_is_told_which_are_known_and_of_thick_ones_none_is(thick):
    detector, y = Restoration(degradation="slices", thick=thick, width=4), normals(1, (1, 8, 8, 8))
    detector.fill_in((1, 8, 8, 8), 8)
    detector.shape_, detector.net_ = (1, 8, 8, 8), detector.build((1, 8, 8, 8))
    if thick:
        torch.testing.assert_close(detector.restored(y), y)  # nothing has been learned yet
    else:
        with pytest.raises(AnomalyError, match="fill in what slices takes"):
            detector.restored(y)


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


@pytest.mark.parametrize("detector", [DAE(), Restoration(degradation="mask")])
def test_after_each_convolution_there_is_group_norm(detector):
    """Each image and each group of channels comes out of a norm with mean 0 and variance 1, whatever beside it."""
    detector.fill_in((1, 16, 16), 8)
    net, out = detector.build((1, 16, 16))["restorer"], []
    for module in net.modules():
        assert not isinstance(module, nn.modules.batchnorm._NormBase)
        if isinstance(module, nn.GroupNorm):
            module.register_forward_hook(lambda norm, _, given: out.append((norm.num_groups, given.clone())))
    x = normals(2, (1, 16, 16)) * torch.tensor([1.0, 5.0]).view(2, 1, 1, 1)
    net(x, (x > 0)[:, :1] if detector.made.tells else None)
    assert len(out) == 7  # two on the way in, halving and one, doubling and two
    for groups, given in out:
        by_group = given.reshape(2, groups, -1)
        assert groups == 8 and by_group.mean(2).abs().max() < 1e-4
        assert (by_group.var(2, correction=0) - 1).abs().max() < 0.1


def test_sizes_leave_sixteen_pixels_but_are_two_at_least_and_four_at_most():
    assert [sizes((1, side, side)) for side in (8, 16, 31, 32, 63, 64, 128, 512)] == [2, 2, 2, 2, 2, 3, 4, 4]
    built = Restoration(width=4).build((1, 16, 16))["restorer"]
    assert len(built.net.down) == 1  # halved once, to 8 pixels


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
