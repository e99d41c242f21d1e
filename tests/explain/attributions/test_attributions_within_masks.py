"""Attributions of a target that was trained within masks: the network is found, and nothing outside counts."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from attributed import SPACES, classifier, images
from explained import SIDE, explaining, two_sides, write

from anomaly.images import read
from anomaly.levels import DARKEST, OUTSIDE
from anomaly.nets.within import kept
from explain import EXPLAINERS, DeepLift
from explain.attributions.base import Attribution
from explain.attributions.masked import WithinMask, mask_of
from explain.attributions.networks import network_behind
from explain.checking.cascade import with_network
from explain.runs.mapping import map_images
from explain.runs.run import LearnedRun
from explain.sides.sides import Sides

ATTRIBUTIONS = [name for name, cls in EXPLAINERS.items() if issubclass(cls, Attribution)]
INSIDE = (slice(1, 10), slice(2, 11))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sides, whose images all have the same mask."""
    path = two_sides(tmp_path_factory.mktemp("masked"))
    table = pd.read_csv(path)
    inside = read(path.parent / table["path"][0]).pixels[0] * 0
    inside[INSIDE] = 255
    table["mask"] = "masks/" + write(path.parent / "masks" / "inside.png", inside.astype("uint8"))
    table.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def run(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> LearnedRun:
    out = tmp_path_factory.mktemp("runs") / "target"
    return explaining(Sides(cohort=cohort, outcome="sick", mask="mask"), out, "classifier")


@pytest.mark.parametrize("name", ["lrp", "deep-lift", "grad-cam", "superpixel-occlusion"])
def test_a_run_with_masks_is_explained(name: str, run: LearnedRun, cohort: Path, tmp_path: Path) -> None:
    assert run.preprocessing.mask == "given"
    mapped = map_images(
        name,
        cohort,
        tmp_path,
        target=run.folder,
        mask="mask",
        where={"subject": "ca3"},
        allow_overlap=True,
        device="cpu",
        workers=1,
    )
    table = pd.read_csv(mapped.path, dtype={"id": str})
    map = read(tmp_path / table["files"][0].split(";")[0]).pixels[0].reshape(SIDE, SIDE)
    outside = torch.ones(SIDE, SIDE, dtype=torch.bool)
    outside[INSIDE] = False
    assert len(table) == 2 and not map[outside.numpy()].any() and map.any()


@pytest.mark.parametrize("name", ATTRIBUTIONS)
def test_what_lies_outside_has_no_say(name: str) -> None:
    net, x = classifier(SPACES[0]), images(1)
    inside = torch.zeros(1, 1, *SPACES[0], dtype=torch.bool)
    inside[..., 3:13, 2:11] = True
    explainer = EXPLAINERS[name](target=WithinMask(net, inside)).fit(images(4))
    other = torch.where(inside, x, 0.3)
    found, again = (explainer.explain(kept(each, inside)).map for each in (x, other))
    torch.testing.assert_close(found, again)
    assert found.any()
    if name not in ("grad-cam", "occlusion"):  # whose layer and windows are coarser than the mask; runs cut them
        assert found[~inside].abs().max() < 1e-12


def test_shares_add_up_from_the_darkest_there_is_inside() -> None:
    net, x = classifier(SPACES[0]), images(1)
    inside = torch.zeros(1, 1, *SPACES[0], dtype=torch.bool)
    inside[..., 3:13, 2:11] = True
    explanation = DeepLift(target=WithinMask(net, inside), baseline="zero").explain(kept(x, inside))
    darkest = torch.where(inside, torch.tensor(DARKEST).to(x), OUTSIDE)
    torch.testing.assert_close(explanation.diagnostics["baseline"], net(darkest).detach())
    assert explanation.diagnostics["gap"].abs() < 1e-12


def test_the_network_is_found_and_can_be_exchanged(run: LearnedRun) -> None:
    value = run.learned.logit
    target = WithinMask(value, torch.ones(1, 1, 8, 8, dtype=torch.bool))
    assert network_behind(target) is network_behind(value) is not None
    other = with_network(target, torch.nn.Identity())
    assert isinstance(other, WithinMask) and isinstance(network_behind(other), torch.nn.Identity)
    assert mask_of(target) is target.inside and mask_of(value) is mask_of(None) is None
    assert network_behind(WithinMask(lambda x: x.flatten(1).sum(1))) is None
