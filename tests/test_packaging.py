import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(command: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    built = run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT], out)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a new environment with the wheel, and the dependencies of the present one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    bin = folder / "bin"
    options = ["--no-deps", "--no-index", "--quiet"]
    pip = run([sys.executable, "-m", "pip", "--python", bin / "python", "install", *options, wheel], folder)
    assert pip.returncode == 0, pip.stderr
    # A folder named in a .pth comes after the wheel's, and .pth files in it, such as that of the editable
    # project, are not read. Only after pip is done: it would take the editable project for an older version.
    (site_packages,) = folder.glob("lib/python*/site-packages")
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return bin


def test_wheel_holds_the_program_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {
        path.relative_to(ROOT).as_posix()
        for package in ("anomaly", "explain")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if ".dist-info/" not in name} == sources | {"cli.py"}


@pytest.mark.parametrize(
    "end",
    [
        "anomaly/py.typed",
        "explain/py.typed",
        "anomaly/demonstration/chest_xray/images.png",
        "anomaly/demonstration/chest_xray/cohort.csv",
        "anomaly/demonstration/chest_xray/README.md",
        ".html",
        ".dist-info/licenses/LICENSE",
        ".dist-info/licenses/anomaly/demonstration/chest_xray/README.md",
    ],
)
def test_wheel_holds(wheel: Path, end: str) -> None:
    assert any(name.endswith(end) for name in zipfile.ZipFile(wheel).namelist())


def test_program_answers_in_a_folder_with_another_cli(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "cli.py").write_text("raise SystemExit(99)\n")
    answer = run([installed / "anomaly", "--help"], tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert all(command in answer.stdout for command in ("demo", "train", "score", "evaluate"))


@pytest.mark.parametrize("module", ["anomaly", "explain", "cli"])
def test_module_comes_from_the_wheel(installed: Path, tmp_path: Path, module: str) -> None:
    code = f"import importlib.util as u; print(u.find_spec({module!r}).origin)"
    answer = run([installed / "python", "-P", "-c", code], tmp_path)
    assert Path(answer.stdout.strip()).is_relative_to(installed.parent), answer.stdout + answer.stderr


def test_embedded_images_unpack_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    code = "from pathlib import Path; from anomaly.demonstration import unpack_chest_xray as u; u(Path('out'))"
    answer = run([installed / "python", "-P", "-c", code], tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert len(list((tmp_path / "out").rglob("*.png"))) == 690


def test_methods_are_known_in_a_zip_and_without_docstrings(wheel: Path, installed: Path, tmp_path: Path) -> None:
    zipped = {**os.environ, "PYTHONPATH": str(wheel)}
    command = [sys.executable, "-P", "-m", "cli", "methods"]
    answer = subprocess.run(command, cwd=tmp_path, env=zipped, capture_output=True, text=True)
    assert "autoencoder" in answer.stdout and "knees" in answer.stdout, answer.stderr
    bare = run([installed / "python", "-P", "-OO", "-m", "cli", "methods", "vae"], tmp_path)
    assert "\nbeta=1.0\n" in bare.stdout, bare.stderr
