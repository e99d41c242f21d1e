"""What is read of methods from their source is what they are, and wrong arguments are answered without torch."""

import dataclasses
import subprocess
import sys

import pytest
from studies import ROOT

from anomaly.commandline import asking
from anomaly.commandline.meanings import Setting, arguments, settings
from anomaly.commandline.sources import UNKNOWN, Sources
from anomaly.detectors import DETECTORS
from anomaly.simulation import KINDS
from anomaly.simulation.kinds import takes
from explain import EXPLAINERS
from explain.classifier import Classifier
from explain.commands import classifiers, explainers

METHODS = {**DETECTORS, **EXPLAINERS, Classifier.name: Classifier}
READ = {**asking.detectors(), **explainers(), **classifiers()}


def test_all_methods_are_read_in_their_order():
    assert list(asking.detectors()) == list(DETECTORS)
    assert list(explainers()) == list(EXPLAINERS)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_read_from_its_source_is_the_method(name):
    read, real = READ[name], METHODS[name]

    def fields(cls):
        return [(field.name, field.default) for field in dataclasses.fields(cls) if field.init and field.repr]

    assert fields(read) == fields(real)
    assert (read.name, read.summary, read.cite) == (real.name, real.summary, real.cite)
    for limit in ("positive", "not_negative", "below_one", "at_most_one"):
        assert getattr(read, limit, ()) == getattr(real, limit, ()), limit
    choices = [{key: tuple(names) for key, names in getattr(cls, "choices", {}).items()} for cls in (read, real)]
    assert choices[0] == choices[1]
    read()  # its defaults keep its own limits


@pytest.mark.parametrize("name", METHODS)
def test_every_setting_of_a_method_says_what_it_means(name):
    assert [setting.name for setting in settings(METHODS[name]) if not setting.meaning] == []


def test_kinds_of_cohorts_are_read_as_they_are():
    for name, kind in KINDS.items():
        read, real = asking.kinds()[name].takes, takes(kind)
        assert list(read) == list(real)
        assert {key: value for key, value in read.items() if value is not UNKNOWN} == {
            key: value for key, value in real.items() if read[key] is not UNKNOWN
        }
        assert set(arguments(asking.kinds()[name].doc)) >= set(real)


def test_a_class_is_read_without_what_only_running_it_would_tell(tmp_path):
    (tmp_path / "anomaly").mkdir()
    (tmp_path / "anomaly" / "far.py").write_text("NEAR, FAR = 1.5, ('a', 'b')\nraise SystemExit('never run')\n")
    (tmp_path / "anomaly" / "own.py").write_text(
        "from dataclasses import dataclass, field\nfrom typing import ClassVar\nimport torch\n"
        "from anomaly import far\nfrom anomaly.far import FAR as WORDS, NEAR\n"
        "@dataclass(kw_only=True)\nclass Base:\n    kept: int = 3\n    hidden: int = 4\n"
        "@dataclass(kw_only=True)\nclass Own(Base):\n    'Own.'\n    hidden: ClassVar[int] = 0\n"
        "    near: float = NEAR\n    word: str = far.FAR[1]\n    low: float = -2.0\n"
        "    table: ClassVar[dict] = {'x': WORDS}\n"
        "    learned_: object = field(init=False, repr=False)\n    net: object = torch.nn.Identity()\n"
    )
    own = Sources(tmp_path).find("anomaly.own", "Own")
    told = {field.name: field.default for field in dataclasses.fields(own) if field.init}
    assert told.pop("net") is dataclasses.MISSING
    assert told == {"kept": 3, "near": 1.5, "word": "b", "low": -2.0}
    assert own.__doc__ == "Own." and own.hidden == 0 and own.table == {"x": ("a", "b")}
    assert Sources(tmp_path).find("anomaly.own", "nothing") is UNKNOWN


def test_arguments_of_a_docstring():
    doc = """What.

    Args:
        one, two: both
            of them.
        three: a: b.

    Returns:
        four: nothing.
    """
    assert arguments(doc) == {"one": "both of them.", "two": "both of them.", "three": "a: b."}
    assert arguments(None) == {}


def test_a_setting_says_what_it_may_be():
    told = {setting.name: setting for setting in settings(READ["stylegan"])}
    assert told["code"].allowed == "one of w, w+" and told["mixing"].allowed == "0 or more and up to 1"
    assert isinstance(told["steps"], Setting) and told["steps"].allowed == "above 0"


WRONG = {
    "train --normals gone --out new": (1, "gone: no such file or folder"),
    "train --normals . --out new --method vea": (2, "did you mean vae?"),
    "train --normals . --out new --method autoencoder --set latent=two": (2, "expects latent as a whole number"),
    "train --normals . --out new --method autoencoder --set latent=-1": (2, "latent must be positive"),
    "train --normals . --out new --method autoencoder --set objective=l3": (2, "objective=l3 is unknown"),
    "train --normals . --out new --size x": (2, "--size: expected numbers"),
    "train --normals . --out new --fit stretch": (2, "expected one of pad"),
    "train --normals . --out new --precision 64": (2, "precision '64' is unknown"),
    "train --normals . --out new --device gpu": (2, "expected auto, cpu, cuda or mps"),
    "train --normals . --out new --calibrate 1.5": (2, "expected a number between 0 and 1"),
    "train --normals . --out new --where x": (2, "expected COLUMN=VALUE"),
    "train --normals . --out new --method pca --classes sex": (2, "pca learns no classes apart"),
    "train --normals . --out before_rooms/detector": (1, "already holds a trained run"),
    "score gone --images . --out new": (1, "gone holds no run.json"),
    "score before_rooms/classifier --images . --out new": (1, "holds a classifier"),
    "score before_rooms/detector --images . --out new --heatmaps jpeg": (2, "--heatmaps: expected"),
    "score before_rooms/detector --images . --out new --shard 3": (2, "--shard: expected i/N"),
    "score before_rooms/detector --images . --out new --alpha 2": (2, "expected a number between 0 and 1"),
    "evaluate gone --cohort cohort.csv": (1, "cohort.csv: no such file or folder"),
    "associate . --cohort gone.csv --outcome x --out new": (1, "gone.csv: no such file or folder"),
    "associate . --cohort . --outcome x --out new --correction holm": (2, "expected max-t, cluster or tfce"),
    "simulate hips --out new": (2, "there is no kind 'hips'"),
    "simulate knees --out new --set twins=yes": (2, "twins is 'yes'"),
    "generate gone --out new": (1, "gone holds no run.json"),
    "generate before_rooms/detector --out new --count 0": (2, "--count"),
    "report gone": (1, "gone: no such file or folder"),
    "info gone": (1, "gone holds no run.json"),
    "methods vea": (2, "did you mean vae?"),
    "explain train --cases . --controls . --out new --method adative": (2, "did you mean additive?"),
    "explain train --cases . --controls . --out new --method saliency": (2, "saliency is not trained"),
    "explain train --cases . --controls . --out new --set sparsity=-1": (2, "sparsity must be 0 or more"),
    "explain train --cases . --controls . --out new --method targeted --target gone": (1, "gone holds no run.json"),
    "explain classifier --cases . --controls . --out new --set architecture=vgg": (2, "one of residual, plain"),
    "explain map saliensy --images . --out new": (2, "did you mean saliency?"),
    "explain map additive --images . --out new": (1, "additive is trained"),
    "explain map saliency --images . --out new --outputs jpeg": (2, "--outputs: expected"),
    "explain map before_rooms/detector --images . --out new": (1, "holds a detector"),
    "explain check gone --out new": (2, "method 'gone' is unknown"),
    "explain evaluate . --sign both": (2, "expected absolute, positive or negative"),
}


def test_wrong_arguments_are_answered_before_anything_heavy_is_imported():
    code = (
        "import contextlib, io, os, sys, cli\n"
        f"os.chdir({str(ROOT / 'tests' / 'data')!r})\n"
        "for words in sys.stdin.read().splitlines():\n"
        "    sys.argv, said = ['anomaly', *words.split()], io.StringIO()\n"
        "    try:\n"
        "        with contextlib.redirect_stderr(said):\n            cli.app()\n"
        "    except SystemExit as end:\n"
        "        heavy = {'torch', 'numpy', 'pandas', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "        print(words, end.code, *sorted(heavy), ' '.join(said.getvalue().split()), sep='|')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], input="\n".join(WRONG), cwd=ROOT, capture_output=True, text=True
    )
    told = [line.split("|", 2) for line in ended.stdout.splitlines()]
    assert [words for words, *_ in told] == list(WRONG), ended.stderr
    for words, exit_code, said in told:
        assert int(exit_code) == WRONG[words][0] and WRONG[words][1] in said, (words, exit_code, said)
        assert said.startswith(("error: ", "Usage: ")), f"{words}: something heavy was imported: {said}"
    assert not (ROOT / "tests" / "data" / "new").exists()
