"""How near restored images come to good ones, beside what needs no learning; and what restoring costs.

    python -m benchmarks.restoration DATA --out OUT [--only NAME ...] [--seed 0] [--split test]
    python -m benchmarks.restoration DATA --out OUT --speed

DATA holds `adult_chest_xray` and `head_ct/slices` (normals of `train` are learned from, all images of `test` are
reported on) and `brain_mri/healthy` (five heads to learn from, slice by slice, three to report on). What is there is
not computed again. Noise is white and its non-local means (scikit-image) are tuned on images of `train`, as all floors
are. `--speed` takes turns: a step of the program's training beside a bare loop with the same network and batches, and
`restore apply` of a volume of 160 x 160 x 24 beside the forward passes alone.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import pandas as pd
import torch

from anomaly.files import write_whole
from anomaly.images import read
from anomaly.images.preprocessing import Preprocessing
from anomaly.restoration.brushes import open_brush
from anomaly.restoration.evaluating import evaluate_restorer
from anomaly.restoration.writing import write_restored
from anomaly.restorers.keeping import KeptImages, keep_images
from anomaly.restorers.learning import asked_of, learn_restorer, parted
from anomaly.restorers.windows import Windows
from anomaly.training.loop import cosine
from anomaly.training.machine import Machine
from benchmarks.coverage import heading, line
from benchmarks.ratios import taking_turns, timed

HEADS = 5
SMALL: dict[str, Any] = {"width": 16, "levels": 3, "steps": 1800, "batch": 4, "window": 48, "lr": 2e-3}
WHOLE: dict[str, Any] = {"width": 16, "levels": 4, "steps": 900, "batch": 2, "lr": 2e-3}


class Task(NamedTuple):
    """A set, what is done to it, and what undoes it."""

    data: str
    degrade: str
    settings: dict[str, Any]


def _noise(sigma: float) -> dict[str, Any]:
    return {"sigma": sigma, "coarse": 1}


TASKS = {
    "chest, half the pixels": Task("chest", "downsample", {"factor": 2, **SMALL}),
    "chest, half the pixels, RED-CNN": Task(
        "chest", "downsample", {"factor": 2, **SMALL, "network": "redcnn", "width": 32}
    ),
    "chest, noise 0.1": Task("chest", "noise", {**_noise(0.1), **SMALL}),
    "chest, k-space 4x": Task("chest", "kspace", {"acceleration": 4.0, **WHOLE}),
    "brains, k-space 4x": Task("brains", "kspace", {"acceleration": 4.0, **WHOLE}),
    "heads, half the pixels": Task("heads", "downsample", {"factor": 2, **SMALL}),
    "chest, noise 0.05": Task("chest", "noise", {**_noise(0.05), **SMALL}),
    "chest, noise 0.2": Task("chest", "noise", {**_noise(0.2), **SMALL}),
    "heads, noise 0.1": Task("heads", "noise", {**_noise(0.1), **SMALL}),
    "brains, half the pixels": Task("brains", "downsample", {"factor": 2, **SMALL}),
    "chest, noise 0.1, RED-CNN": Task("chest", "noise", {**_noise(0.1), **SMALL, "network": "redcnn", "width": 32}),
    "chest, half the pixels, diffusion": Task(
        "chest", "downsample", {"factor": 2, **SMALL, "network": "diffusion", "draws": 4}
    ),
}


def main() -> None:
    """Train, evaluate and print a table in Markdown, or measure the cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", choices=("val", "test"), default="test")
    parser.add_argument("--speed", action="store_true")
    arguments = parser.parse_args()
    if arguments.speed:
        for name, measured in (("training", training), ("apply", applying)):
            print(json.dumps({"measurement": name, **measured(arguments.data, arguments.out)}), flush=True)
        return
    heading(["task", "images (subjects)", "degraded", "best floor", "restored", "difference", "SSIM", "s"])
    for name in arguments.only:
        line([name, *row(TASKS[name], name, arguments)])


def row(task: Task, name: str, arguments: argparse.Namespace) -> list[str]:
    """PSNR in dB of what a network is given, of the best floor (which), of the restored; 95 % intervals by subject."""
    place = arguments.out / f"{name} {arguments.split} {arguments.seed}".replace(",", "").replace(" ", "-")
    train, test = SETS[task.data](arguments.data, arguments.split)
    scaled = Preprocessing(intensity="percentile" if task.data == "brains" else "range")
    begun = time.perf_counter()
    run = learn_restorer(
        train, place / "run", degrade=task.degrade, settings=task.settings, preprocessing=scaled, subject="subject",
        seed=arguments.seed, resume=True,
    )  # fmt: skip
    if not (place / "seconds.json").exists():
        write_whole(place / "seconds.json", json.dumps(time.perf_counter() - begun))
    found = evaluate_restorer(run.folder, test, place / "figures", subject="subject", seed=arguments.seed)
    psnr = found.summary[found.summary["measure"] == "psnr"].set_index("version")
    ssim = found.summary[found.summary["measure"] == "ssim"].set_index("version")["value"]
    apart = next(str(each) for each in psnr.index if str(each).startswith("restored - "))
    best = apart.removeprefix("restored - ")
    given, floor, drawn, difference = (dict(psnr.loc[each]) for each in ("degraded", best, "restored", apart))
    return [
        f"{drawn['n']} ({drawn['subjects']})", f"{given['value']:.2f}",
        f"{floor['value']:.2f} ({best})", f"{drawn['value']:.2f}", _interval(difference),
        f"{ssim[best]:.4f} to {ssim['restored']:.4f}", f"{json.loads((place / 'seconds.json').read_text()):.0f}",
    ]  # fmt: skip


def _interval(told: dict[Any, Any]) -> str:
    return f"{told['value']:+.2f} ({told['low']:+.2f} to {told['high']:+.2f})"


def _xrays(data: Path, split: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    return _table(data / "adult_chest_xray", split)


def _heads(data: Path, split: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    return _table(data / "head_ct" / "slices", split)


def _table(folder: Path, split: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    table = pd.read_csv(folder / "cohort.csv", dtype={"subject": str})
    table = table.assign(path=[str((folder / path).resolve()) for path in table["path"]])
    train = (table["split"] == "train") & (table["label"] == 0)
    return table[train].reset_index(drop=True), table[table["split"] == split].reset_index(drop=True)


def _brains(data: Path, split: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    files = sorted((data / "brain_mri" / "healthy").glob("*.nii.gz"))
    table = pd.DataFrame(
        {"path": [str(file.resolve()) for file in files], "subject": [file.name[:6] for file in files]}
    )
    return table[:HEADS], table[HEADS:].reset_index(drop=True)


SETS = {"chest": _xrays, "heads": _heads, "brains": _brains}


def training(data: Path, out: Path) -> dict[str, Any]:
    """Steps of the program's loop against a bare PyTorch loop: same network, batches, optimiser, schedule, average."""
    steps = 120
    asked = asked_of("downsample", None, {"factor": 2, **SMALL, "steps": steps}, Preprocessing(intensity="range"))
    images = _kept(asked.preprocessing, asked.degradation, data, out)
    cut: dict[str, Any] = {"size": 4, "window": (64, 64)}
    batches = Windows(images, "train", asked.degradation, **cut)
    shape, machine = (1, 64, 64), Machine(device="cpu")

    def ours() -> None:
        asked.restorer.fit(batches, shape, held_out=batches[0], machine=machine)

    def bare() -> None:
        net = asked.restorer.build(shape)["restorer"]  # type: ignore[index]
        optimiser = torch.optim.Adam(net.parameters(), lr=asked.restorer.lr)
        average = [each.detach().clone() for each in net.parameters()]
        for k in range(steps):
            for group in optimiser.param_groups:
                group["lr"] = asked.restorer.lr * cosine(k / steps)
            y, x = batches[k]
            loss = (net(y) - x).abs().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            loss.item()
            torch._foreach_lerp_(average, [each.detach() for each in net.parameters()], 0.001)

    return {"threads": torch.get_num_threads(), "steps": steps, **taking_turns(timed(ours), timed(bare), 3)}


def _kept(preprocessing: Preprocessing, degradation: Any, data: Path, out: Path) -> KeptImages:
    """X-rays, kept as a training keeps them."""
    folder = out / "kept" / "checkpoint"
    folder.mkdir(parents=True, exist_ok=True)
    cohort = parted(_xrays(data, "test")[0], None, 0.1, subject="subject")
    keep_images(cohort, preprocessing, degradation, folder)
    return KeptImages.open(folder)


def applying(data: Path, out: Path) -> dict[str, Any]:
    """`restore apply` of a volume, its file read and the restored one written, against the passes of the network."""
    file = out / "volume" / "volume.nii.gz"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(0).random((160, 160, 24), dtype=np.float32)
        nib.save(nib.nifti1.Nifti1Image(values, np.diag([1.0, 1.0, 4.0, 1.0])), file)
    found: dict[str, Any] = {"threads": torch.get_num_threads()}
    for dims in (2, 3):
        brush = open_brush(_untrained(out / f"untrained-{dims}", dims, data), device="cpu")
        net = brush.run.restorer  # type: ignore[union-attr]
        y = torch.zeros((24, 1, 160, 160) if dims == 2 else (1, 1, 160, 160, 24))

        def ours(brush: Any = brush) -> None:
            image = read(file)
            drawn = brush.draw(image, brush.prepare(image)[0], told=None)
            write_restored(out / "volume", "drawn", image, drawn.values, drawn.frame)

        def passes(net: Any = net, y: torch.Tensor = y) -> None:
            net.restored(y)

        found[f"dims {dims}"] = taking_turns(timed(ours), timed(passes), 3)
    return found


def _untrained(place: Path, dims: int, data: Path) -> Path:
    """A run for volumes, or slices of volumes, trained for a step."""
    if not (place / "run.json").exists():
        settings = {"width": 16, "levels": 3, "steps": 1, "batch": 1, **_noise(0.1)}
        train, _ = _brains(data, "test")
        preprocessing = Preprocessing(dims=dims, size=None)
        learn_restorer(train, place, degrade="noise", settings=settings, preprocessing=preprocessing)
    return place


if __name__ == "__main__":
    main()
