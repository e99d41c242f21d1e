"""Restorers and diffusion beside the autoencoder, the default and floors: who is ill, and where.

    python -m benchmarks.restoring_detectors DATA --out OUT [--jobs NAME ...] [--threads 1]

DATA holds `chest_xray`, `adult_chest_xray`, `head_ct/cropped` and `brain_mri/healthy` side by side. Each job learns
from normals of `train` (a fifth of the persons held out to scale by), and is judged on `val` and `test`: AUROC of the
labels (of the ill at most 300 images), of every value that the method offers; average precision of pixels and Dice (at
the threshold that is best on `val`, and at the best, which nobody can know) of lesions planted into its normals. These
are those of `anomaly simulate lesions`, of 2 to 5 pixels, in the prepared images of 64 pixels; "bright" are brighter by
1.5 to 3 SD, "both" as often darker. A row of OUT/rows.csv is one figure; jobs that have theirs are not done again, so
that a killed call goes on.
"""

import argparse
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from anomaly.detectors import Detector
from anomaly.detectors.moments import Moments
from anomaly.files import write_whole
from anomaly.images import Image, read
from anomaly.images.masking import masked
from anomaly.images.preprocessing import Preprocessing
from anomaly.nets.within import within
from anomaly.runs.methods import create
from anomaly.simulation.planting import Recipe, plant
from anomaly.statistics import auroc_interval, metrics
from anomaly.training.batches import chunks, evenly
from anomaly.training.machine import Machine
from benchmarks.masks import make_masks

SIZE, PLANTED, ILL, HELD_OUT = 64, 100, 300, 0.2
SETS = {"children": "chest_xray", "adults": "adult_chest_xray", "heads": "head_ct/cropped"}
POLARITIES = ("bright", "both")
DETECTORS: dict[str, tuple[str, dict[str, Any]]] = {
    "intensity": ("intensity", {}),
    "mean image": ("mean-image", {}),
    "autoencoder": ("autoencoder", {"steps": 500}),
    "auto": ("auto", {}),
    "dae": ("dae", {"steps": 400}),
    "restoration, noise": ("restoration", {"steps": 400}),
    "restoration, downsample": ("restoration", {"degradation": "downsample", "factor": 4, "steps": 400}),
    "restoration, mask": ("restoration", {"degradation": "mask", "steps": 400}),
    "restoration, border": ("restoration", {"degradation": "border", "steps": 400}),
    "restoration, lowdose": ("restoration", {"degradation": "lowdose", "steps": 400}),
    "restoration, kspace": ("restoration", {"degradation": "kspace", "steps": 400}),
    "diffusion, coarse": ("diffusion", {"steps": 400, "draws": 2}),
    "diffusion, simplex": ("diffusion", {"noise": "simplex", "steps": 400, "draws": 2}),
    "diffusion, gaussian": ("diffusion", {"noise": "gaussian", "steps": 400, "draws": 2}),
}
FLOORS = ("intensity", "mean image", "autoencoder", "auto")
RESTORERS = ("mask", "downsample", "noise", "border", "lowdose", "kspace")
JOBS = [
    *(("children", name, 0) for name in ("intensity", "mean image", "dae", "autoencoder")),
    *(("children", name, 0) for name in ("diffusion, coarse", "diffusion, gaussian")),
    *(("brains", name, 0) for name in ("intensity", "mean image", "dae", "autoencoder")),
    ("children", "restoration, mask", 0),
    *(("heads", name, 0) for name in ("intensity", "mean image", "autoencoder", "dae")),
    ("children", "restoration, downsample", 0),
    ("children", "auto", 0),
    *(("children", name, seed) for seed in (1, 2) for name in ("dae", "diffusion, coarse", "diffusion, gaussian")),
    ("children", "diffusion, simplex", 0),
    *(("adults", name, 0) for name in ("intensity", "mean image", "autoencoder", "dae")),
    *((name, kind, 0) for name in ("adults", "heads") for kind in ("diffusion, coarse", "diffusion, gaussian")),
    *(("children", f"restoration, {name}", 0) for name in RESTORERS[2:]),
    *((where, "auto", 0) for where in ("brains", "adults", "heads")),
    *(("brains", "dae", seed) for seed in (1, 2)),
    *((where, f"restoration, {name}", 0) for where in ("adults", "heads") for name in RESTORERS),
]
"""In the order of what they tell."""


class Part(NamedTuple):
    """Prepared images (n, 1, 64, 64), their labels, and whose they are."""

    images: np.ndarray
    labels: np.ndarray
    subjects: np.ndarray

    @property
    def normals(self) -> np.ndarray:
        """Images without a finding."""
        return self.images[self.labels == 0]


def main() -> None:
    """Do the jobs whose rows are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--jobs", nargs="+", help="names of detectors; all that are listed otherwise")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = arguments.out / "rows.csv"
    for where, name, seed in JOBS:
        told = pd.read_csv(rows) if rows.exists() else pd.DataFrame(columns=["set", "detector", "seed"])
        done = (told["set"] == where) & (told["detector"] == name) & (told["seed"] == seed)
        if done.any() or (arguments.jobs and name not in arguments.jobs):
            continue
        job = {"set": where, "detector": name, "seed": seed}
        found = pd.DataFrame([{**job, **row} for row in figures(where, name, seed, arguments)])
        print(found[found["split"] == "test"].to_string(index=False, header=False), flush=True)
        write_whole(rows, (pd.concat([told, found]) if len(told) else found).to_csv(index=False))


def figures(where: str, name: str, seed: int, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """All figures of one training, by split and by what they are of."""
    parts = of_set(where, arguments.data, arguments.out)
    detector, seconds = learned(where, name, seed, parts["train"], arguments.out)
    begun, rows = time.perf_counter(), []
    for split in ("val", "test"):
        if where != "brains":
            rows += [{"split": split, **row} for row in ranking(detector, parts[split])]
    for polarity in POLARITIES:
        best = 0.0
        for split in ("val", "test"):
            images, masks = lesions(parts[split].normals, polarity, f"{where} {split}")
            maps = departures(detector, images, parts["train"])
            if split == "val":
                best = best_threshold(masks, maps)
            figure = {
                "pixel AP": metrics.pixel_average_precision(list(masks), list(maps)),
                "Dice, val's threshold": dice(masks, maps, best),
                "best Dice": dice(masks, maps, best_threshold(masks, maps)),
            }
            rows += [{"split": split, "of": f"{polarity}: {what}", "value": value} for what, value in figure.items()]
    told = {"seconds to learn": seconds, "seconds to judge": time.perf_counter() - begun}
    return rows + [{"split": "test", "of": what, "value": value} for what, value in told.items()]


def of_set(where: str, data: Path, out: Path) -> dict[str, Part]:
    """Train, val and test of a set, prepared, and kept in OUT."""
    kept = out / f"{where}.npz"
    if not kept.exists():
        arrays = brains(data / "brain_mri" / "healthy", out) if where == "brains" else pictures(data / SETS[where])
        np.savez(
            kept, **{f"{split}_{what}": each for split, part in arrays.items() for what, each in part._asdict().items()}
        )
    with np.load(kept) as found:
        return {split: Part(*(found[f"{split}_{what}"] for what in Part._fields)) for split in ("train", "val", "test")}


def pictures(folder: Path) -> dict[str, Part]:
    """A set of pictures with a table; bloodless slices of who bled are neither normal nor ill."""
    table = pd.read_csv(folder / "cohort.csv", dtype={"subject": str})
    if "patient_label" in table:
        table = table[(table["label"] == 1) | (table["patient_label"] == 0)]
    prepare = Preprocessing(size=SIZE)
    parts = {}
    for split, rows in table.groupby("split"):
        ill = rows[rows["label"] == 1]
        ill = ill.iloc[[] if split == "train" else evenly(len(ill), ILL)]
        rows = pd.concat([rows[rows["label"] == 0], ill])
        images = np.concatenate([prepare.apply(read(folder / path)).pixels for path in rows["path"]])
        parts[str(split)] = Part(images, rows["label"].to_numpy(), rows["subject"].to_numpy(dtype=str))
    return parts


def brains(folder: Path, out: Path) -> dict[str, Part]:
    """Axial slices of T1 heads within brain masks: five to learn from and scale by, one for val, two for test."""
    table, prepare = make_masks(folder, out), Preprocessing(size=SIZE, mask="given")
    parts = {}
    for split, rows in (("train", table[:5]), ("val", table[5:6]), ("test", table[6:])):
        each = [prepare.apply(masked(read(Path(str(row.path))), str(row.mask))) for row in rows.itertuples()]
        each_images = [part.pixels[part.areas > 200] for part in each]
        whose = np.repeat(rows["id"].to_numpy(dtype=str), [len(images) for images in each_images])
        images = np.concatenate(each_images)
        parts[split] = Part(images, np.zeros(len(images), dtype=int), whose)
    return parts


def parted(train: Part) -> tuple[np.ndarray, np.ndarray]:
    """Normals to learn from, and those of every fifth person to scale by."""
    people = np.unique(train.subjects)
    aside = np.isin(train.subjects, people[:: round(1 / HELD_OUT)])
    return train.images[~aside], train.images[aside]


def learned(where: str, name: str, seed: int, train: Part, out: Path) -> tuple[Detector, float]:
    """The detector, trained or read, and the seconds that it took."""
    method, settings = DETECTORS[name]
    place = out / f"{where}-{name}-{seed}.safetensors".replace(", ", "-").replace(" ", "-")
    detector = create(method, settings)
    if place.exists():
        return type(detector).load(place), float("nan")
    begun = time.perf_counter()
    detector.fit(*parted(train), masked=where == "brains", machine=Machine(device="cpu"), seed=seed)
    detector.save(place)
    return detector, time.perf_counter() - begun


def ranking(detector: Detector, part: Part) -> list[dict[str, Any]]:
    """AUROC of every value that the method offers, with the interval of 95 % by person."""
    scores = [detector.score(x) for x in chunks(part.images)]
    values = {"value": torch.cat([score.value for score in scores])}
    values |= {head: torch.cat([score.parts[head] for score in scores]) for head in scores[0].parts}
    rows = []
    for head, value in values.items():
        found = auroc_interval(part.labels, value.numpy(), part.subjects, scale="logit")
        rows.append({"of": f"AUROC {head}", "value": found.value, "low": found.low, "high": found.high})
    return rows


def lesions(normals: np.ndarray, polarity: str, drawn: str) -> tuple[np.ndarray, np.ndarray]:
    """At most so many normals, each with a lesion, and where these are (n, 64, 64) bool; the same in every call."""
    recipe, images, masks = Recipe(radius=(2, 5), unit="pixels", polarity=polarity), [], []
    for number, x in enumerate(normals[np.linspace(0, len(normals) - 1, min(PLANTED, len(normals))).astype(int)]):
        inside = within(torch.from_numpy(x[None])).numpy()[0, 0]
        image = Image(x, np.eye(4), Path(drawn), "array", mask=None if inside.all() else inside)
        try:
            made = plant(image, recipe, np.random.default_rng([number, *drawn.encode()]))
        except Exception:  # no room for a lesion
            continue
        images.append(np.clip(made.pixels, -1, 1))
        masks.append(made.mask)
    return np.stack(images), np.stack(masks)


def departures(detector: Detector, images: np.ndarray, train: Part) -> np.ndarray:
    """Maps (n, 64, 64) in standard deviations of held-out normals, as runs write them."""
    usual = Moments()
    for x in chunks(parted(train)[1]):
        inside = detector.within(x)
        usual.add(detector.score(x).map.numpy(), None if inside is None else inside.numpy())
    maps = np.concatenate([detector.score(x).map.numpy() for x in chunks(images)])
    found = (maps - usual.mean()) / usual.sd()
    return (
        np.where(within(torch.from_numpy(images)).numpy(), found, found.min())[:, 0]
        if detector.masked_
        else found[:, 0]
    )


def best_threshold(masks: np.ndarray, maps: np.ndarray) -> float:
    """The threshold with the highest Dice over all pixels."""
    order = np.argsort(maps, axis=None)[::-1]
    hit = np.cumsum(masks.ravel()[order])
    return float(maps.ravel()[order[np.argmax(2 * hit / (np.arange(1, hit.size + 1) + masks.sum()))]])


def dice(masks: np.ndarray, maps: np.ndarray, threshold: float) -> float:
    """Dice of all pixels together."""
    above = maps >= threshold
    return float(2 * (above & masks).sum() / (above.sum() + masks.sum()))


if __name__ == "__main__":
    main()
