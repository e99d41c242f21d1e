"""Networks of the users' own as ONNX: what they give, what a run keeps, and what is refused."""

import copy
import hashlib
import sys
from pathlib import Path

import pytest
import torch
from foreign import CHANNELS, file, network, seen
from tiny import CPU, SHAPES, normals, with_lesion

from anomaly.detectors import Features
from anomaly.errors import AnomalyError, MissingPackage, RunError
from anomaly.nets import onnx_network
from anomaly.nets.onnx_network import Network, in_cells

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
SIDE = 32


def features(weights: str, **settings: object) -> Features:
    return Features(network="onnx", weights=weights, **{"side": SIDE, "levels": "-1 to 1", **settings})


def fit(weights: str, shape: str = "2D", **settings: object) -> Features:
    return features(weights, **settings).fit(normals(20, SHAPES[shape], seed=1), machine=CPU)


@pytest.mark.parametrize("form", ["cells", "tokens", "classed"])
@pytest.mark.parametrize("batch", ["batch", 1, 4])
@pytest.mark.parametrize("sides", [("rows", "columns"), (SIDE, SIDE)])
def test_cells_are_what_the_network_gives_whatever_its_form(form, batch, sides) -> None:
    x = torch.rand(6, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    net = Network(network(sides, batch=batch, form=form).SerializeToString(), side=SIDE)
    torch.testing.assert_close(net(x), seen(x), rtol=1e-5, atol=1e-5)
    assert torch.equal(net(x)[3:4], net(x[3:4])), "what comes of a picture does not depend on others"


@pytest.mark.parametrize(("channels", "of"), [(1, 1), (1, 3), (3, 1), (3, 3)])
def test_grey_is_repeated_and_colours_are_averaged(channels, of, tmp_path) -> None:
    x = torch.rand(4, of, SIDE, SIDE) * 2 - 1
    detector = features(file(tmp_path, network(channels=channels)), density="place").fit(x, machine=CPU)
    expected = seen(x if of == channels else x.mean(1, keepdim=True).expand(-1, channels, -1, -1))
    torch.testing.assert_close(detector.net_["features"](x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("levels", "black", "white"), [("0 to 1", 0.0, 1.0), ("-1 to 1", -1.0, 1.0), ("0 to 255", 0.0, 255.0)]
)
def test_black_and_white_are_what_the_network_takes_for_them(levels, black, white, tmp_path) -> None:
    x = torch.stack([torch.full((1, SIDE, SIDE), level) for level in (-1.0, 1.0)])
    detector = features(file(tmp_path, network(channels=1)), levels=levels).fit(x, machine=CPU)
    expected = seen(torch.tensor([black, white]).view(2, 1, 1, 1).expand(2, 1, SIDE, SIDE))
    torch.testing.assert_close(detector.net_["features"](x), expected, rtol=1e-4, atol=1e-3)


def test_networks_of_half_precision_are_fed_what_they_take() -> None:
    x = torch.rand(2, 3, SIDE, SIDE)
    net = Network(network(kind="FLOAT16").SerializeToString(), side=SIDE)
    torch.testing.assert_close(net(x), seen(x), rtol=2e-2, atol=2e-2)


def test_a_tensor_inside_can_be_looked_at(tmp_path) -> None:
    x = torch.rand(3, 3, SIDE, SIDE) * 2 - 1
    for form in ("cells", "pooled"):
        weights = file(tmp_path, network(form=form))
        found = features(weights, output="inner").fit(x, machine=CPU).net_["features"](x)
        torch.testing.assert_close(found.relu(), seen(x), rtol=1e-4, atol=1e-4)
        assert found.min() < 0
    with pytest.raises(AnomalyError, match=r"output=iner is no tensor .* did you mean inner\? its outputs are pooled"):
        fit(weights, output="iner")
    with pytest.raises(AnomalyError, match=r"gives pooled \(1, 5\), expected .* inside it by --set output="):
        fit(weights)


@pytest.mark.parametrize("shape", ["2D", "two channels", "3D"])
@pytest.mark.parametrize("output", ["", "inner"])
def test_a_run_holds_the_network_and_gives_the_same_without_the_file(shape, output, tmp_path) -> None:
    weights = file(tmp_path, network(batch=1))
    detector = fit(weights, shape, output=output)
    assert detector.sha256 == hashlib.sha256(Path(weights).read_bytes()).hexdigest()
    assert fit(weights, shape, output=output, sha256=detector.sha256) == detector
    detector.save(tmp_path / "weights.safetensors")
    Path(weights).unlink()
    loaded = Features.load(tmp_path / "weights.safetensors")
    x = with_lesion(normals(6, SHAPES[shape], seed=3))
    score = loaded.score(x)
    assert loaded == detector and loaded.output == output
    assert torch.equal(score.map, detector.score(x).map) and torch.equal(score.value, detector.score(x).value)
    assert torch.equal(copy.deepcopy(loaded).score(x).value, score.value), "a copy makes a session of its own"
    for i in range(len(x)):
        torch.testing.assert_close(loaded.score(x[i : i + 1]).value[0], score.value[i], rtol=1e-5, atol=1e-6)
    assert score.value.mean() > loaded.score(normals(6, SHAPES[shape], seed=3)).value.mean()


def test_it_says_that_values_have_no_gradient(tmp_path) -> None:
    detector = fit(file(tmp_path, network()))
    assert not detector.differentiable and Features().differentiable
    with pytest.raises(AnomalyError, match="values of features have no gradient; explain it by occlusion"):
        detector.value(normals(2, SHAPES["2D"]).requires_grad_(True))


def test_the_size_that_a_network_asks_for_wins_with_a_word(tmp_path, caplog) -> None:
    detector = fit(file(tmp_path, network((24, 40))))
    assert "takes 24 x 40 pixels and no others, not side=32" in caplog.text
    assert detector.side == 24 and detector.net_["features"](normals(2, SHAPES["2D"])).shape == (2, CHANNELS, 6, 10)
    caplog.clear()
    detector.save(tmp_path / "weights.safetensors")
    Features.load(tmp_path / "weights.safetensors")
    assert not caplog.text


def test_weights_with_another_sha256_are_refused(tmp_path) -> None:
    with pytest.raises(AnomalyError, match=r"the weights have sha256 .* asked for was 000"):
        fit(file(tmp_path, network()), sha256="0" * 64)


def test_settings_that_do_not_go_together_are_told() -> None:
    for settings, told in (
        ({"network": "onnx"}, "weights=nothing is no .onnx file"),
        ({"network": "onnx", "weights": "a.pt"}, "weights=a.pt is no .onnx file"),
        ({"weights": "a.onnx"}, "weights=a.onnx is no .safetensors file; .* a .onnx file wants network=onnx"),
        ({"output": "x"}, "output=x is for network=onnx; of efficientnet-lite0 choose a block="),
    ):
        with pytest.raises(AnomalyError, match=told):
            Features(**settings)
    assert Features(network="onnx", weights="a.onnx", block=99).block == 99


def test_without_onnxruntime_it_says_what_to_install(tmp_path, monkeypatch) -> None:
    weights = file(tmp_path, network())
    fit(weights).save(tmp_path / "weights.safetensors")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for act in (lambda: fit(weights), lambda: Features.load(tmp_path / "weights.safetensors")):
        with pytest.raises(MissingPackage, match=r"onnxruntime; pip install 'anomaly-explain\[onnx\]'$"):
            act()


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (lambda: network(channels=3, sides=(2, 2)), "takes no pictures of 2 x 2 pixels"),
        (lambda: typed("INT64"), "takes picture tensor.int64. .* of fractions"),
        (lambda: shaped(["n", 32, 32, 3]), r"expected one picture \(N, 1 or 3, rows, columns\)"),
        (lambda: shaped(["n", 3, 32]), r"expected one picture"),
        (lambda: unknown(), "onnxruntime cannot run the ONNX network: .*Nonsense"),
    ],
)
def test_networks_that_are_no_use_are_told(model, told, tmp_path) -> None:
    with pytest.raises(AnomalyError, match=told):
        fit(file(tmp_path, model()))


def typed(kind: str):
    model = network()
    model.graph.input[0].type.tensor_type.elem_type = getattr(onnx.TensorProto, kind)
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.append(onnx.helper.make_node("Cast", ["picture"], ["cells"], to=onnx.TensorProto.FLOAT))
    return model


def shaped(shape: list):
    model = network()
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.append(onnx.helper.make_node("Relu", ["picture"], ["cells"]))
    model.graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info("picture", onnx.TensorProto.FLOAT, shape))
    return model


def unknown():
    model = network()
    model.graph.node[0].op_type = "Nonsense"
    return model


def test_a_run_whose_network_was_exchanged_is_looked_through_again(tmp_path) -> None:
    from safetensors.torch import load_file

    from anomaly.training.checkpoints import facts_of, save_tensors

    path = tmp_path / "weights.safetensors"
    fit(file(tmp_path, network())).save(path)
    evil = network()
    evil.graph.node[0].domain = "evil"
    content = torch.frombuffer(bytearray(evil.SerializeToString()), dtype=torch.uint8)
    save_tensors(path, {**load_file(path), "features.network.content": content}, facts_of(path))
    with pytest.raises(RunError, match="asks for the operation Conv of the domain evil"):
        Features.load(path)


def test_tokens_are_laid_out_row_by_row() -> None:
    tokens = torch.arange(9.0).view(1, 9, 1)
    assert in_cells(tokens)[0, 0].tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    classed = torch.cat([torch.full((1, 1, 1), -1.0), tokens], dim=1)
    assert torch.equal(in_cells(classed), in_cells(tokens))
    assert [onnx_network._has_cells((1, n, 7)) for n in (1, 2, 4, 5, 6, 197, 198)] == [
        False, False, True, True, False, True, False,
    ]  # fmt: skip
