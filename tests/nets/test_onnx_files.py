"""ONNX files are looked through without being run: what is foreign, damaged or elsewhere is refused by name."""

import hashlib

import pytest
from foreign import network

from anomaly.errors import AnomalyError
from anomaly.nets import onnx_files

onnx = pytest.importorskip("onnx")
helper = onnx.helper


def refused(model, told: str) -> None:
    content = model if isinstance(model, bytes) else model.SerializeToString()
    with pytest.raises(AnomalyError, match=told):
        onnx_files.check(content, "it.onnx")


def test_a_whole_file_is_read_and_known_by_its_bytes(tmp_path) -> None:
    path = tmp_path / "network.onnx"
    content = network(form="classed").SerializeToString()
    path.write_bytes(content)
    assert onnx_files.read(str(path)) == (content, hashlib.sha256(content).hexdigest())
    with pytest.raises(AnomalyError, match=r"no file .*none.onnx to take a network from"):
        onnx_files.read(str(tmp_path / "none.onnx"))


def test_names_are_those_of_the_nodes() -> None:
    model = network(form="classed")
    assert onnx_files.names(model.SerializeToString()) == [name for node in model.graph.node for name in node.output]


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"PK\x03\x04" + bytes(300), b"\x89PNG\r\n\x1a\n" + bytes(64), b"{}"]
)
def test_what_is_no_onnx_file_is_told(content) -> None:
    refused(content, "it.onnx is no ONNX file")


def test_a_file_that_was_cut_short_is_told_wherever_it_ends() -> None:
    content = network().SerializeToString()
    whole = 0
    for length in range(len(content)):
        try:
            onnx_files.check(content[:length], "it.onnx")
            whole += 1
        except AnomalyError as error:
            assert "is no ONNX file" in str(error)
    assert whole <= 1  # behind the graph stands its version, which the runtime asks for


def test_operations_of_other_domains_are_refused_by_name_wherever_they_stand() -> None:
    model = network()
    model.graph.node[1].domain = "com.somebody"
    refused(model, "the operation Relu of the domain com.somebody, which is not of the ONNX standard")
    branch = helper.make_graph([helper.make_node("Evil", [], ["y"], domain="deep")], "branch", [], [])
    model = network()
    model.graph.node.append(helper.make_node("If", ["inner"], ["z"], then_branch=branch, else_branch=branch))
    refused(model, "the operation Evil of the domain deep")


def test_domains_that_are_named_and_not_used_are_let_pass() -> None:
    model = network()
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx_files.check(model.SerializeToString(), "it.onnx")


def test_functions_of_the_file_itself_are_no_foreign_code_but_what_they_call_may_be() -> None:
    def model(inner: str):
        made, body = network(), helper.make_node("Relu", ["x"], ["y"], domain=inner)
        made.functions.append(
            helper.make_function("own", "Bend", ["x"], ["y"], [body], [helper.make_opsetid("", 13)], [])
        )
        made.graph.node[1].domain, made.graph.node[1].op_type = "own", "Bend"
        return made

    onnx_files.check(model("").SerializeToString(), "it.onnx")
    refused(model("evil"), "the operation Relu of the domain evil")


def test_weights_in_another_file_are_refused_by_its_name() -> None:
    model = network()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    refused(model, "keeps weights in another file, and a run must hold all of them")
    tensor.external_data.add(key="location", value="../weights.bin")
    refused(model, r"keeps weights in \.\./weights\.bin")
    constant = network()
    inside = onnx.TensorProto(data_location=onnx.TensorProto.EXTERNAL, name="c")
    inside.external_data.add(key="location", value="/etc/passwd")
    constant.graph.node.append(helper.make_node("Constant", [], ["c"], value=inside))
    refused(constant, "keeps weights in /etc/passwd")


def test_one_more_output_is_what_protobuf_reads_of_it() -> None:
    model = network()
    more = onnx.load_model_from_string(onnx_files.with_output(model.SerializeToString(), "inner"))
    assert [each.name for each in more.graph.output] == ["cells", "inner"]
    assert list(more.graph.node) == list(model.graph.node)
    long = onnx.load_model_from_string(onnx_files.with_output(model.SerializeToString(), "n" * 300))
    assert long.graph.output[1].name == "n" * 300


def test_deep_nesting_and_endless_numbers_break_nothing() -> None:
    content = b""
    for _ in range(3000):  # graph -> node -> attribute -> graph ...
        for number in (6, 5, 1):
            content = onnx_files._message(number, content)
    refused(onnx_files._message(7, content) + onnx_files._message(7, b"\xff" * 20), "a number without end")
