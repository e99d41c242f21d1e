"""Drawn knees: same arguments, same bytes; lesions where they are said to be; anatomy that moves as it should."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from anomaly.errors import CohortError
from anomaly.simulation.anatomy import SITES, Lesions, draw_knee

QUIET = replace(SITES[0], noise=0.0, bias=0.0)
FINDINGS = ("effusion", "marrow", "thinning", "osteophytes")


def drawn(lesions=None, **changed):
    given = {"person": 3, "knee": 0, "scan": 7, "side": "right", "site": SITES[0], "seed": 1}
    return draw_knee(lesions or Lesions(), **{**given, **changed})


def test_the_same_arguments_give_the_same_bytes():
    lesions = Lesions(effusion=0.5, marrow=0.5, thinning=0.4, osteophytes=0.3)
    first, again = drawn(lesions), drawn(lesions)
    assert first.image.tobytes() == again.image.tobytes()
    assert first.image.dtype == np.float32 and first.image.shape == (96, 96)
    for changed in ({"person": 4}, {"scan": 8}, {"seed": 2}, {"site": SITES[1]}):
        assert np.abs(drawn(lesions, **changed).image - first.image).max() > 0.05


@pytest.mark.parametrize("finding", FINDINGS)
def test_no_finding_no_mask_and_a_little_of_it_a_little(finding):
    none = drawn()
    assert not any(none.masks[name].any() for name in FINDINGS)
    areas, changes = [], []
    for severity in (0.0, 0.25, 0.5, 0.75, 1.0):
        one = drawn(Lesions(**{finding: severity}))
        areas.append(one.masks[finding].sum())
        changes.append(np.abs(one.image - none.image).sum())
        assert not any(one.masks[name].any() for name in FINDINGS if name != finding)
    assert changes[0] == 0 and changes[1] > 0 and sorted(changes) == changes
    # Wear moves the femur by parts of a pixel, so its mask may lose one where the edge passes a pixel's middle.
    slack = 0.15 if finding == "thinning" else 0
    assert all(later >= (1 - slack) * before for before, later in pairwise(areas))
    assert areas[-1] > 10


@pytest.mark.parametrize("finding", ["effusion", "marrow", "osteophytes"])
def test_the_twin_differs_only_near_the_lesion(finding):
    lesions = Lesions(effusion=0.6, marrow=0.7, osteophytes=0.5)
    case = drawn(lesions)
    twin = drawn(replace(lesions, **{finding: 0.0}))
    near = ndimage.binary_dilation(case.masks[finding], iterations=9)
    changed = np.abs(case.image - twin.image)
    assert (changed[case.masks[finding]] > 0).mean() > 0.9
    # A spur that fills less than a quarter of a pixel is in no mask, and leaves a trace that nobody sees.
    assert changed[~near].max() <= (0.06 if finding == "osteophytes" else 0)


@pytest.mark.parametrize("finding", ["effusion", "marrow"])
def test_what_hurts_is_bright(finding):
    case, twin = drawn(Lesions(**{finding: 0.9}), site=QUIET), drawn(site=QUIET)
    inside = case.masks[finding]
    assert (case.image - twin.image)[inside].mean() > 0.15


def test_lesions_lie_where_they_do_in_knees():
    case = drawn(Lesions(effusion=0.8, marrow=0.8), site=QUIET)
    rows, columns = np.nonzero(case.masks["effusion"])
    assert rows.mean() < 40 and columns.mean() < 40  # above and in front of the joint
    assert case.masks["bone"][case.masks["marrow"]].mean() > 0.9
    # Under the cartilage of femur, tibia or patella: no further from it than a large lesion reaches.
    distance = ndimage.distance_transform_edt(~case.masks["cartilage"])
    assert np.quantile(distance[case.masks["marrow"]], 0.9) < 12


def test_wear_thins_the_cartilage_and_brings_the_femur_down():
    whole, worn = drawn(site=QUIET, size=192), drawn(Lesions(thinning=1.0), site=QUIET, size=192)
    near = ndimage.binary_dilation(whole.masks["cartilage"] | worn.masks["cartilage"], iterations=2)
    assert worn.masks["thinning"].any() and not worn.masks["thinning"][~near].any()
    assert worn.masks["cartilage"].sum() < 0.93 * whole.masks["cartilage"].sum()

    def gap(masks):
        """Least height between femur and tibia, in the columns where both have bone."""
        bone = masks["bone"]
        gaps = []
        for column in range(70, 120):
            pieces, count = ndimage.label(bone[:, column])
            if count >= 2:
                ends = [np.flatnonzero(pieces == k) for k in range(1, count + 1)]
                gaps.append(min(after[0] - before[-1] for before, after in pairwise(ends)))
        return np.median(gaps)

    assert gap(worn.masks) < gap(whole.masks) - 1


def test_a_large_picture_is_the_small_one_in_more_detail():
    lesions = Lesions(effusion=0.5, marrow=0.6)
    small, large = (drawn(lesions, site=QUIET, size=size).image for size in (96, 192))
    halved = large.reshape(96, 2, 96, 2).mean(axis=(1, 3))
    assert np.corrcoef(small.ravel(), halved.ravel())[0, 1] > 0.97


def test_left_and_right_are_mirror_images():
    lesions = Lesions(effusion=0.6, marrow=0.6)
    right, left = (drawn(lesions, side=side, dims=3, size=48, site=QUIET) for side in ("right", "left"))
    assert right.image.shape == (32, 48, 48)
    np.testing.assert_array_equal(left.image, right.image[::-1])
    for name in right.masks:
        np.testing.assert_array_equal(left.masks[name], right.masks[name][::-1])
    assert right.affine[0, 3] > 0 > left.affine[0, 3]
    # The same place of both lies as far from the person's midline.
    for i in (0, 15, 31):
        assert (right.affine @ [i, 0, 0, 1])[0] == pytest.approx(-(left.affine @ [31 - i, 0, 0, 1])[0])


def test_a_volume_has_the_front_in_front_and_the_top_on_top():
    knee = drawn(Lesions(effusion=1.0), dims=3, size=48, site=QUIET)
    _, front, top = (axis.mean() for axis in np.nonzero(knee.masks["effusion"]))
    _, middle, centre = (axis.mean() for axis in np.nonzero(knee.masks["bone"]))
    assert front > middle + 3 and top > centre + 3
    assert knee.affine[1, 1] > 0 and knee.affine[2, 2] > 0


def test_both_knees_of_a_person_resemble_each_other():
    def apart(one, other):
        return np.abs(drawn(site=QUIET, **one).image - drawn(site=QUIET, **other).image).mean()

    own = np.mean([apart({"person": p}, {"person": p, "knee": 1}) for p in range(8)])
    others = np.mean([apart({"person": p}, {"person": p + 8}) for p in range(8)])
    assert own < 0.7 * others


def test_brightness_does_not_give_the_lesions_away():
    from anomaly.statistics.metrics import auroc

    rng = np.random.default_rng(0)
    ill = np.arange(120) % 2
    means = [
        drawn(
            Lesions(effusion=float(sick * rng.uniform(0.3, 1)), marrow=float(sick * rng.uniform(0.3, 1))),
            person=i, scan=i, site=SITES[i // 2 % 3],
        ).image.mean()
        for i, sick in enumerate(ill)
    ]  # fmt: skip
    assert auroc(ill, means) < 0.8


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"side": "L"}, "side is 'L'; give 'left' or 'right'"),
        ({"dims": 4}, "in 2 or 3 dimensions, not 4"),
        ({"size": 16}, "size is 16 pixels, too few"),
    ],
)
def test_wrong_arguments_are_told(changed, message):
    with pytest.raises(CohortError, match=message):
        drawn(**changed)
    with pytest.raises(CohortError, match="severity of marrow is -1"):
        Lesions(marrow=-1)
