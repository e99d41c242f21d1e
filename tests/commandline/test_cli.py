"""The command line: help at once, wrong arguments with a hint, and exit codes that a script can rely on."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from studies import ROOT, SIDE, call, calling, pictures, start, trained
from typer.testing import CliRunner

import anomaly
import cli
from anomaly.commandline.analyses import ANALYSES
from anomaly.degradations.register import DEGRADATIONS
from anomaly.detectors import DETECTORS
from anomaly.errors import AnomalyError
from anomaly.evolution.register import FORECASTERS
from anomaly.painters.lesions import LesionPainter
from anomaly.painters.register import SYNTHESIZERS
from anomaly.progression.commands import commands as progress_commands
from anomaly.registrars.learned import VoxelMorph
from anomaly.registration.commands import commands as register_commands
from anomaly.restoration.commands import commands as restore_commands
from anomaly.segmentation.commands import commands as segment_commands
from anomaly.segmenters.register import SEGMENTERS
from anomaly.simulation import KINDS
from anomaly.synthesis.commands import commands as synthesize_commands
from anomaly.translation.commands import commands as translate_commands
from anomaly.translators.cycle import CycleGAN
from anomaly.translators.restorer import Restorer
from explain import EXPLAINERS
from explain.commands import commands as explain_commands
from explain.painting.commands import commands as paint_commands

COMMANDS = sorted(command.callback.__name__ for command in cli.commands.registered_commands)
OWN = {cls.name: cls for cls in (Restorer, CycleGAN, VoxelMorph, LesionPainter, *SEGMENTERS.values())}
GROUPS = {
    "explain": explain_commands,
    "paint": paint_commands,
    "progress": progress_commands,
    "register": register_commands,
    "restore": restore_commands,
    "segment": segment_commands,
    "synthesize": synthesize_commands,
    "translate": translate_commands,
}
EVERY = [
    *([name] for name in [*COMMANDS, *GROUPS]),
    *(
        [group, command.name or command.callback.__name__]
        for group, commands in GROUPS.items()
        for command in commands.registered_commands
    ),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`normals/` and `images/`, and a run in `run/`."""
    home = tmp_path_factory.mktemp("home")
    trained(pictures(home / "normals", 24), home / "run")
    pictures(home / "images", 4, name="i")
    return home


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Call the program in this process: exit code, output and errors."""
    return calling(home, monkeypatch, capsys)


# Help


def test_help_comes_without_torch():
    code = (
        "import sys, cli\n"
        "from typer.testing import CliRunner\n"
        f"for name in [[], *{EVERY!r}]:\n"
        "    result = CliRunner().invoke(cli.commands, [*name, '--help'])\n"
        "    assert result.exit_code == 0, result.output\n"
        "print(sorted({'torch', 'pandas', 'numpy', 'lightning_fabric', 'matplotlib'} & set(sys.modules)))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert ended.stdout.strip() == "[]", ended.stderr


@pytest.mark.parametrize("command", EVERY, ids=" ".join)
def test_every_command_has_help_for_each_of_its_options(command):
    shown = CliRunner().invoke(cli.commands, [*command, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0 and shown.output.startswith("Usage: ")
    options = [line for line in shown.output.splitlines() if line.startswith("  -")]
    assert options and all(len(line.split("  ")) > 2 for line in options)


def test_all_commands_are_listed(run):
    code, out, _ = run("--help")
    assert code == 0
    assert {line.split()[0] for line in out.split("Commands:")[1].splitlines() if line} == {*COMMANDS, *GROUPS}


# Wrong arguments


WRONG = {
    "train --normals images --out new --method auto-encoder": "did you mean autoencoder? there are auto, intensity",
    "train --normals images --out new --method vae --set latentt=3": "has no setting 'latentt'; did you mean latent?",
    "train --normals images --out new --method vae --set latent": "expected name=value, got 'latent'",
    "train --normals images --out new --method vae --set latent=two": "expects latent as a whole number, got 'two'",
    "train --normals images --out new --method vae --set lr=-1": "lr must be positive, got -1",
    "train --normals images --out new --method gone.py:Mine": "no file 'gone.py' to take the method 'Mine' from",
    "train --normals images --out new --method pca --steps 5": "pca has no setting 'steps'",
    "train --normals images --out new --size small": "for --size: expected numbers with commas, got 'small'",
    "train --normals images --out new --size 8,8,8": "size is (8, 8, 8); expected one positive number, 2 of them",
    "train --normals images --out new --size -8": "size is -8; expected one positive number",
    "train --normals images --out new --spacing 1,x": "Invalid value for --spacing",
    "train --normals images --out new --method vae --size 3": "images of 3 pixels a side hold nothing to learn from",
    "train --normals images --out new --dims 4": "dims is 4; expected 2 or 3",
    "train --normals images --out new --intensity window": "window is None; expected (low, high)",
    "train --normals images --out new --intensity window --window 5": "window is 5.0; expected two numbers",
    "train --normals images --out new --fit stretch": "expected one of pad, ",
    "train --normals images --out new --where split": "Invalid value for --where: expected COLUMN=VALUE, got 'split'",
    "train --normals images --out new --where a=1 --where a=2": "a is asked to be '1' and '2' at once",
    "train --normals images --out new --precision 64": "precision '64' is unknown; take one of 32, bf16, 16",
    "train --normals images --out new --calibrate 0": "'--calibrate': expected a number between 0 and 1, got 0.0",
    "train --normals images": "Missing option '--out'",
    "score run --images images --out new --shard 3": "for --shard: expected i/N with 1 <= i <= N, as 1/8; got '3'",
    "score run --images images --out new --shard 3/2": "expected i/N with 1 <= i <= N, as 1/8; got '3/2'",
    "score run --images images --out new --cluster nowhere": "slurm, slurm:JOBS or local:PROCESSES; got 'nowhere'",
    "score run --images images --out new --shard a/b": "expected i/N with 1 <= i <= N, as 1/8; got 'a/b'",
    "score run --images images --out new --heatmaps jpeg": "for --heatmaps: expected auto, nifti, png, dicom, none",
    "score run --images images --out new --alpha 2": "'--alpha': expected a number between 0 and 1, got 2",
    "score run --images images --out new --batch 0": "Invalid value for '--batch'",
    "generate run --count 0 --out new": "Invalid value for '--count'",
    "score --images images --out new": "Missing argument 'RUN...'",
    "lern": "No such command 'lern'",
    "explain train --out new": "say who is a case and who a control",
    "explain train --cases images --controls normals --out new --method adative": "did you mean additive?",
    "explain train --cases images --controls normals --out new --method paired": "learns from pairs; give --cohort",
    "explain train --cases images --controls normals --out new --set sparsty=3": "did you mean sparsity?",
    "explain train --cases images --controls normals --out new --permuted 1 --processes 2": "calibrate the finished",
    "explain classifier --cases images --controls normals --out new --set architecture=vgg": "one of residual, plain",
    "explain map saliency --images images --out new": "saliency explains a target; give --target",
    "score run --images images --out new --device gpu": "'--device': expected auto, cpu, cuda or mps, got 'gpu'",
    "explain map saliency --images images --out new --outputs jpeg": "for --outputs: expected auto, nifti, png",
}


@pytest.mark.parametrize("words", WRONG)
def test_wrong_arguments_end_with_2_and_a_hint_before_any_work(words, run, home):
    code, out, errors = run(words)
    assert code == 2, (out, errors)
    assert WRONG[words] in " ".join(errors.split()) and "Traceback" not in errors
    assert not (home / "new").exists()


QUICK = {
    "train --normals t.csv --out new --subject gone": "t.csv: has no column 'gone'; its columns are path, subject, age",
    "train --normals empty.csv --out new": "empty.csv: has no rows",
    "train --normals t.csv --out new --where age=9": "no row is left with age 9; its values there are 4",
    "train --normals t.csv --out new --where gone=9": "has no column 'gone'",
    "train --normals t.csv --out new --method stylegan --classes gone": "has no column 'gone'",
    "train --normals images --out new --subject gone": "has no column 'gone', for it is a folder",
    "train --normals images --out new --subject-pattern (": "'(' is no regular expression",
    "train --normals images --out new --subject-pattern n": "'n' has no group",
    "train --normals gone/*.png --out new": "no file fits this pattern",
    "train --config gone.json": "gone.json: no such file",
    "score run --images t.csv --out new --subject gone": "has no column 'gone'",
    "score run --images gone --out new": "gone: no such file or folder",
    "evaluate images --cohort t.csv --outcome age": "images holds no scores.csv",
    "evaluate images --cohort t.csv --outcome gone": "has no column 'gone'",
    "evaluate images --cohort t.csv --outcome age --adjust gone": "has no column 'gone'",
    "evaluate images --cohort t.csv": "name the outcome",
    "associate images --cohort t.csv --outcome gone --out new": "has no column 'gone'",
    "generate run --out new": "mean-image, which draws no new images",
    "explain train --out new": "say who is a case and who a control",
    "explain train --cohort t.csv --outcome gone --out new": "has no column 'gone'",
    "explain train --cases images --controls normals --out new --method paired": "learns from pairs",
    "explain train --cases images --controls normals --out new --target run": "takes no target",
    "explain train --cases images --controls normals --out new --method targeted": "explains a target",
    "explain classifier --cases images --controls normals --out new --set steps=x": "steps as a whole number",
    "explain map saliency --images images --out new": "explains a target",
    "explain map saliency --images t.csv --subject gone --target run --out new": "has no column 'gone'",
    "explain check saliency --out new": "explains a target",
    "explain calibrate run": "run holds a detector",
    "explain evaluate images": "holds no explanations.csv",
    "doctor --jsn": "No such option",
    "export run": "say what to write; there is one form, ONNX",
    "info images": "holds no run.json",
}


def test_nothing_wrong_costs_the_import_of_torch_or_pandas(home):
    (home / "empty.csv").write_text("path,subject,age\n")
    (home / "t.csv").write_text("path,subject,age\n" + "".join(f"normals/n{k:03d}.png,s{k},4\n" for k in range(9)))
    code = (
        "import contextlib, io, json, sys, cli\n"
        f"for words, told in {QUICK!r}.items():\n"
        "    sys.argv, said = ['anomaly', *words.split()], io.StringIO()\n"
        "    with contextlib.redirect_stderr(said):\n"
        "        try:\n"
        "            cli.app()\n"
        "        except SystemExit as ended:\n"
        "            assert ended.code in (1, 2), words\n"
        "    assert told in ' '.join(said.getvalue().split()), (words, said.getvalue())\n"
        "    heavy = {'torch', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "    assert not heavy, (words, heavy)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", code], cwd=home, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert not (home / "new").exists()


FAILED = {
    "train --normals gone --out new": "gone: no such file or folder; correct the path",
    "train --normals gone.csv --out new": "gone.csv: no such file or folder; correct the path",
    "train --normals images --out run": "run already holds a trained run; choose another --out, or remove it",
    "train --normals images --out images": "images is not empty and holds no training; choose another --out",
    "score gone --images images --out new": "gone holds no run.json: give a folder made by train",
    "export gone --onnx": "gone holds no run.json: give a folder made by train",
    "score run --images normals --out new": "24 subjects are in both the training images and those given now",
    "info images": "images holds no run.json: give a folder made by train",
}


@pytest.mark.parametrize("words", FAILED)
def test_work_that_fails_ends_with_1_and_one_line(words, run, home):
    code, _, errors = run(words)
    assert code == 1
    assert errors.startswith("error: ") and FAILED[words] in errors and errors.count("\n") == 1
    assert not (home / "new").exists()


def test_a_mistake_of_the_program_itself_is_not_hidden(run, monkeypatch):
    monkeypatch.setattr("anomaly.runs.describing.describe", lambda folder: int("x"))
    with pytest.raises(ValueError, match="invalid literal") as caught:
        run("info run")
    assert not isinstance(caught.value, AnomalyError)


# What the commands say


def test_methods_says_a_line_each_of_all_that_the_program_can_do(run):
    code, out, _ = run("methods")
    assert code == 0
    told = {line.split("  ")[0]: line for line in out.splitlines() if "  " in line}
    others = {*DEGRADATIONS, *FORECASTERS, *SYNTHESIZERS, *OWN}
    assert set(told) == {*DETECTORS, *EXPLAINERS, *KINDS, *others, *(each.name for each in ANALYSES)}
    assert all(told[name].endswith(f"  {cls.summary}") for name, cls in {**DETECTORS, **EXPLAINERS}.items())


@pytest.mark.parametrize("name", [*DETECTORS, *EXPLAINERS, *DEGRADATIONS, *FORECASTERS, *SYNTHESIZERS, *OWN])
def test_methods_with_a_name_says_every_setting_its_default_and_its_meaning(name, run):
    code, out, _ = run(f"methods {name}")
    cls = {**DETECTORS, **EXPLAINERS, **DEGRADATIONS, **FORECASTERS, **SYNTHESIZERS, **OWN}[name]
    assert code == 0 and out.startswith(f"{name}: {cls.summary}\ncite: {cls.cite}\n")
    lines = out.splitlines()
    for field in dataclasses.fields(cls):
        if field.init and field.repr:
            place = lines.index(f"{field.name}={field.default}")
            assert lines[place + 1].startswith("    ") and len(lines[place + 1].strip()) > 4


@pytest.mark.parametrize("name", [*KINDS, *(each.name for each in ANALYSES)])
def test_methods_with_a_name_knows_cohorts_and_analyses(name, run):
    code, out, _ = run(f"methods {name}")
    assert code == 0 and out.startswith(f"{name}: ") and "asked by: anomaly " in out


def test_methods_with_a_wrong_name_says_the_nearest(run):
    code, _, errors = run("methods autoencode")
    assert code == 2 and "there is no 'autoencode'; did you mean autoencoder?" in errors


def test_version_is_told(run):
    assert run("--version")[:2] == (0, f"anomaly {anomaly.__version__}\n")


def test_completion_is_offered():
    ended = CliRunner().invoke(cli.commands, ["--help"])
    assert "--install-completion" in ended.output


def test_info_says_what_a_run_is(run):
    code, out, _ = run("info run")
    assert code == 0
    assert "mean-image()" in out and "24 images of 24 subjects" in out and "seed 0" in out


def test_train_then_score_from_the_command_line(run, tmp_path):
    words = f"--method pca --set components=2 --size {SIDE} --seed 3 --device cpu --workers 1"
    code, out, errors = run(f"train --normals normals --out {tmp_path}/run {words}")
    assert (code, out) == (0, f"run: {tmp_path}/run\n"), errors
    code, out, errors = run(f"score {tmp_path}/run --images images --out {tmp_path}/out --heatmaps none --device cpu")
    assert (code, out) == (0, f"scores: {tmp_path}/out/scores.csv (4 new, 0 from before, 0 unreadable)\n"), errors
    assert list(pd.read_csv(tmp_path / "out" / "scores.csv")["id"]) == ["i000", "i001", "i002", "i003"]


def test_where_keeps_rows_and_steps_is_short_for_a_setting(run, home, tmp_path):
    rows = [{"path": path, "site": "ab"[i % 2]} for i, path in enumerate(sorted((home / "normals").iterdir()))]
    pd.DataFrame(rows).to_csv(tmp_path / "cohort.csv", index=False)
    small = f"--method vae --size {SIDE} --set width=2 --set hidden=8 --set latent=2 --set batch=4 --steps 2"
    code, _, errors = run(
        f"train --normals {tmp_path}/cohort.csv --where site=a --out {tmp_path}/run {small} --device cpu"
    )
    assert code == 0, errors
    _, out, _ = run(f"info {tmp_path}/run")
    assert "12 images of 12 subjects" in out and "steps=2" in out


def test_unreadable_images_end_with_3_and_name_the_table_of_their_shard(run, home, tmp_path):
    images = pictures(tmp_path / "images", 2, name="i")
    (images / "empty.png").write_bytes(b"")
    code, out, errors = run(f"score run --images {images} --out {tmp_path}/out --heatmaps none --shard 1/2")
    assert code == 3 and "1 unreadable" in out
    assert f"1 image could not be used; see {tmp_path}/out/errors-1-of-2.csv" in errors
    assert "\n1: is empty (0 bytes); copy it again" in errors
    assert (tmp_path / "out" / "errors-1-of-2.csv").exists()


def test_why_images_cannot_be_used_is_said_on_the_screen(run, home, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for k in range(3):
        np.save(images / f"{k}.npy", np.zeros((4, 5, 6 + k, 7)))
    call = f"score run --images {images} --heatmaps none"
    code, _, errors = run(f"{call} --out {tmp_path}/alike")
    assert code == 3 and "\n3: has 4 channels; expected 1" in errors
    (images / "empty.npy").write_bytes(b"")
    _, _, errors = run(f"{call} --out {tmp_path}/mixed")
    assert "\n3: has 4 channels; expected 1" in errors and "\n1: is empty (0 bytes); copy it again" in errors


# Stopped


def test_control_c_while_scoring_keeps_what_was_done(home, tmp_path):
    images = pictures(tmp_path / "images", 500, name="i")
    words = ("score", home / "run", "--images", images, "--out", tmp_path / "out", "--batch", 2, "--device", "cpu")
    process, table = start(*words), tmp_path / "out" / "scores.csv"
    end = time.monotonic() + 60
    while not (table.exists() and table.read_bytes().count(b"\n") > 5):
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert "stopped; what was done is kept, the same command goes on" in errors and "Traceback" not in errors
    done = table.read_bytes().count(b"\n") - 1
    assert 5 <= done < 500
    code, out, errors = call(*words)
    assert code == 0 and f"({500 - done} new, {done} from before, 0 unreadable)" in out, errors
    assert list(pd.read_csv(table)["id"]) == [f"i{i:03d}" for i in range(500)]


def test_a_reader_that_leaves_early_gets_no_traceback():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = f"{sys.executable} {ROOT / 'cli.py'} methods | head -1"
    ended = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True)
    assert ended.stdout == "detectors\n" and "Traceback" not in ended.stderr


def test_a_task_of_slurm_that_is_no_part_of_a_training_tells_its_errors(monkeypatch):
    monkeypatch.setenv("SLURM_PROCID", "3")
    monkeypatch.setenv("LOCAL_RANK", "3")
    code, _, errors = call("score", "gone", "--images", ".", "--out", "gone")
    assert code == 1 and errors == "error: gone holds no run.json: give a folder made by train\n"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("train --method auto", "autoencoder"),
        ("explain train --method late", "latent-walk"),
        ("methods sal", "saliency"),
    ],
)
def test_a_shell_completes_the_names_of_methods(words, found):
    given = {
        "_ANOMALY_COMPLETE": "complete_bash",
        "COMP_WORDS": f"anomaly {words}",
        "COMP_CWORD": str(len(words.split())),
    }
    ended = subprocess.run(
        [sys.executable, "-c", "import sys, cli; sys.argv = ['anomaly']; cli.app()"],
        cwd=ROOT, env={**os.environ, **given}, capture_output=True, text=True,
    )  # fmt: skip
    assert found in ended.stdout.split()
