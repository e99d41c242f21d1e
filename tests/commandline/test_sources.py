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
from anomaly.simulation.kinds import _takes
from explain import EXPLAINERS
from explain.classifier import Classifier

METHODS = {**DETECTORS, **EXPLAINERS, Classifier.name: Classifier}
READ = {**asking.detectors(), **asking.explainers(), **asking.classifiers()}


def test_all_methods_are_read_in_their_order():
    assert list(asking.detectors()) == list(DETECTORS)
    assert list(asking.explainers()) == list(EXPLAINERS)


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
        read, real = asking.kinds()[name].takes, _takes(kind)
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


WRONG = [
    "train --normals gone --out new",
    "train --normals . --out new --method vea",
    "train --normals . --out new --set latent=two",
    "train --normals . --out new --set latent=-1",
    "train --normals . --out new --set objective=l3",
    "train --normals . --out new --size x",
    "train --normals . --out new --fit stretch",
    "train --normals . --out new --precision 64",
    "train --normals . --out new --device gpu",
    "train --normals . --out new --calibrate 1.5",
    "score gone --images . --out new",
    "score . --images . --out new",
    "score . --images . --out new --heatmaps jpeg",
    "score . --images . --out new --shard 3",
    "score . --images . --out new --alpha 2",
    "evaluate gone --cohort gone.csv",
    "associate . --cohort gone.csv --outcome x --out new",
    "associate . --cohort . --outcome x --out new --correction holm",
    "simulate hips --out new",
    "simulate knees --out new --set twins=yes",
    "generate gone --out new",
    "generate . --out new --count 0",
    "report gone",
    "info gone",
    "methods vea",
    "explain train --cases . --controls . --out new --method adative",
    "explain train --cases . --controls . --out new --set sparsity=-1",
    "explain train --cases . --controls . --out new --method targeted --target gone",
    "explain classifier --cases . --controls . --out new --set architecture=vgg",
    "explain map saliensy --images . --out new",
    "explain map saliency --images . --out new --outputs jpeg",
    "explain map . --images . --out new",
    "explain check gone --out new",
    "explain evaluate . --sign both",
]


def test_wrong_arguments_are_answered_before_anything_heavy_is_imported():
    code = (
        "import os, sys, cli\n"
        f"os.chdir({str(ROOT / 'tests' / 'data')!r})\n"
        "for words in sys.stdin.read().splitlines():\n"
        "    sys.argv = ['anomaly', *words.split()]\n"
        "    try:\n        cli.app()\n"
        "    except SystemExit as end:\n"
        "        heavy = {'torch', 'numpy', 'pandas', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "        print(words, end.code if end.code in (1, 2) else f'ended with {end.code}', *heavy, sep='|')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], input="\n".join(WRONG), cwd=ROOT, capture_output=True, text=True
    )
    told = [line.split("|") for line in ended.stdout.splitlines()]
    assert [words for words, *_ in told] == WRONG, ended.stderr
    assert [line for line in told if line[1] not in "12" or len(line) > 2] == []
    assert "Traceback" not in ended.stderr
