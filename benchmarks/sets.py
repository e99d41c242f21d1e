"""Every detector on every shared set of images, normals alone to learn from, the labels met by the scores only here.

    python -m benchmarks.sets DATA --out OUT [--only NAME ...] [--sets NAME ...] [--seeds 0 1 2] [--normals N]

DATA holds the sets side by side, `chest_xray`, `adult_chest_xray`, `head_ct/cropped`, `head_ct/slices` and
`brain_tumour`; planted lesions and simulated knees are made in OUT. What is there is not computed again. A row is one
detector on one set: AUROC, mean over seeds, the 95 % interval of the first clustered by person; average precision;
sensitivity at 95 % specificity; average precision of pixels where masks are; seconds to learn, milliseconds an image to
score (reading included); normals flagged at 0.05.
"""

import argparse
import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import pandas as pd
from PIL import Image

from anomaly import Run, learn, score
from anomaly.files import write_whole
from anomaly.images.preprocessing import Preprocessing
from anomaly.scoring.maps import FOLDER
from anomaly.simulation import simulate
from anomaly.simulation.lesions import simulate_lesions
from anomaly.statistics import auroc_interval, metrics
from benchmarks.coverage import heading, line

DETECTORS: dict[str, tuple[str, dict[str, Any]]] = {
    "mean intensity": ("intensity", {}),
    "mean image": ("mean-image", {}),
    "pca": ("pca", {}),
    "texture": ("texture", {}),
    "gradients": ("gradients", {}),
    "scattering": ("scattering", {}),
    "features, block 11, memory (PatchCore)": ("features", {}),
    "features, block 11, place (PaDiM)": ("features", {"density": "place"}),
    "features, block 5, memory": ("features", {"block": 5}),
    "autoencoder": ("autoencoder", {}),
    "vae": ("vae", {}),
    "auto": ("auto", {}),
    "auto, no ImageNet": ("auto", {"members": "texture,gradients,autoencoder"}),
}
DRAWN_BY_CHANCE = ("autoencoder", "vae", "auto, no ImageNet")
"""What a seed changes; of the others one training is shown."""
SLICES = range(20, 60, 2)  # of a tumour patient's volume that hold most of the brain


class Source(NamedTuple):
    """A set: its table (path, subject, label, split, perhaps mask), how images are read, whether labels are of use."""

    table: pd.DataFrame
    intensity: str = "percentile"
    ranked: bool = True


def main() -> None:
    """Train, score and print a table in Markdown for each set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=list(DETECTORS))
    parser.add_argument("--sets", nargs="+", default=list(SOURCES), choices=list(SOURCES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--normals", type=int, help="learn from so many of them only")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--split", choices=("val", "test"), default="test")
    arguments = parser.parse_args()
    for name in arguments.sets:
        source = SOURCES[name](arguments.data, arguments.out)
        print(f"\n{name}\n")
        heading(["detector", "AUROC", "95 %", "AP", "sensitivity", "pixel AP", "s", "ms", "flagged"])
        for detector in arguments.only:
            seeds = arguments.seeds if detector in DRAWN_BY_CHANCE else arguments.seeds[:1]
            line([detector, *row([one(source, name, detector, seed, arguments) for seed in seeds], source.ranked)])


def one(source: Source, name: str, detector: str, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures of one training."""
    kind = f"{name} {detector} {arguments.size} {arguments.normals or 'all'} {arguments.split} {seed}"
    place = arguments.out / kind.replace(",", "").replace(" ", "-")
    if not (place / "figures.json").exists():
        method, settings = DETECTORS[detector]
        train, test = parts(source.table, arguments.split, arguments.normals, seed)
        run = _timed(place / "learnt.json", lambda: learn(
            train, place / "run", method=method, settings=settings, seed=seed, resume=True, subject="subject",
            preprocessing=Preprocessing(size=arguments.size, intensity=source.intensity),
        ))  # fmt: skip
        shutil.rmtree(place / "scores", ignore_errors=True)  # those of a run that was killed tell no time
        drawn = ["nifti"] if "mask" in test else ["none"]
        begun = time.perf_counter()
        scored = score(run.folder, test, place / "scores", heatmaps=drawn, subject="subject")
        each = (time.perf_counter() - begun) / len(test)
        found = figures(pd.read_csv(scored.path), test, place / "scores" / FOLDER)
        learnt = float((place / "learnt.json").read_text())
        write_whole(place / "figures.json", json.dumps({**found, "s": learnt, "ms": 1000 * each}))
    return dict(json.loads((place / "figures.json").read_text()))


def _timed(told: Path, work: Callable[[], Run]) -> Run:
    """Do it, and note the seconds; what was done before is given back and keeps its time."""
    begun = time.perf_counter()
    run = work()
    if not told.exists():
        write_whole(told, str(time.perf_counter() - begun))
    return run


def parts(table: pd.DataFrame, split: str, normals: int | None, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Normals to learn from, at most so many, whole persons drawn by the seed; and images to report on."""
    train = table[(table["split"] == "train") & (table["label"] == 0)]
    if normals is not None:
        people = np.random.default_rng(seed).permutation(train["subject"].unique())
        counts = train["subject"].value_counts().loc[people].cumsum()
        train = train[train["subject"].isin(counts.index[counts <= normals])]
    return train, table[table["split"] == split].reset_index(drop=True)


def figures(scores: pd.DataFrame, test: pd.DataFrame, maps: Path) -> dict[str, Any]:
    """What a table of scores tells of the labels, and its maps of the masks."""
    told = scores.merge(test[["path", "label"]].assign(path=test["path"].map(str)), on="path")
    truth, value = told["label"].to_numpy(), told["value"].to_numpy()
    area = auroc_interval(truth, value, told["subject"], scale="logit")
    normal = told[truth == 0]
    return {
        "auroc": area.value, "low": area.low, "high": area.high, "ap": metrics.average_precision(truth, value),
        "sensitivity": metrics.sensitivity_at_specificity(truth, value, 0.95),
        "pixels": _pixels(told, test, maps) if "mask" in test else None,
        "flagged": f"{int(normal['flagged'].sum())} of {len(normal)}",
    }  # fmt: skip


def _pixels(told: pd.DataFrame, test: pd.DataFrame, maps: Path) -> float:
    """Average precision of the pixels of images that have a mask."""
    masks = test.dropna(subset=["mask"]).set_index("path")["mask"]
    ids = told.set_index("path")["id"]
    drawn = [_volume(next(maps.glob(f"{ids[path]}*.nii.gz"))).squeeze() for path in masks.index]
    return metrics.pixel_average_precision([_mask(Path(mask)) for mask in masks], drawn)


def _volume(path: Path) -> np.ndarray:
    return np.asarray(nib.nifti1.Nifti1Image.from_filename(path).dataobj)


def _mask(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)) > 0


def row(found: list[dict[str, Any]], ranked: bool) -> list[str]:
    """The cells of a row: means over seeds, the interval of the first; maps alone where labels are of no use."""
    first = found[0]
    areas = [each["auroc"] for each in found]
    mean = f"{np.mean(areas):.3f}" + (f" ({' '.join(f'{area:.3f}' for area in areas)})" if len(found) > 1 else "")
    pixels = "" if first["pixels"] is None else f"{np.mean([each['pixels'] for each in found]):.3f}"
    ap, sensitivity = (np.mean([each[key] for each in found]) for key in ("ap", "sensitivity"))
    cost = [f"{first['s']:.0f}", f"{first['ms']:.0f}"]
    if not ranked:
        return ["", "", "", "", pixels, *cost, ""]
    interval = f"{first['low']:.3f}-{first['high']:.3f}"
    return [
        mean, interval, f"{ap:.3f}", f"{sensitivity:.2f}", pixels, *cost,
        ", ".join(each["flagged"] for each in found),
    ]  # fmt: skip


def _shared(folder: str) -> Callable[[Path, Path], Source]:
    def table(data: Path, out: Path) -> Source:
        found = pd.read_csv(data / folder / "cohort.csv", dtype={"subject": str})
        if "patient_label" in found:  # bloodless slices of who bled are neither
            found = found[(found["label"] == 1) | (found["patient_label"] == 0)]
        return Source(found.assign(path=[str((data / folder / path).resolve()) for path in found["path"]]))

    return table


def _planted(data: Path, out: Path) -> Source:
    """Lesions in normals of `train` of the children."""
    folder = out / "planted"
    where: Mapping[str, str] = {"split": "train", "label": "0"}
    made = simulate_lesions(data / "chest_xray" / "cohort.csv", folder, where=where, seed=0)
    return Source(_whole(pd.read_csv(made, dtype={"subject": str}), folder))


def _knees(data: Path, out: Path) -> Source:
    """Knees with an effusion or a marrow lesion against those without any finding; knees with others are left out."""
    folder = out / "knees"
    made = simulate("knees", folder, persons=600, size=96, image_months=(0,), seed=1)
    table = pd.read_csv(made, dtype={"subject": str})
    ill = (table["effusion_grade"] > 0) | (table["marrow_grade"] > 0)
    table = table.assign(label=ill.astype(int))
    table.loc[np.where(ill, table["split"] == "train", table["normal"] != 1), "split"] = "none"
    return Source(_whole(table.drop(columns="masks"), folder), "range")


def _whole(table: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """The table with whole paths."""
    for column in ("path", "mask"):
        if column in table:
            names = table[column]
            table[column] = [str((folder / name).resolve()) if isinstance(name, str) else name for name in names]
    return table


def _tumour(data: Path, out: Path) -> Source:
    """Slices of glioma patients: learn from those without tumour of the first three, draw those of the others."""
    folder = out / "tumour"
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(1, 7):
        stem = f"brats_2013_pat{number:04d}_1"
        image, mask = (_volume(data / "brain_tumour" / f"{stem}_{kind}.nii.gz") for kind in ("FLAIR", "tumour"))
        high = np.percentile(image, 99.8)
        for z in SLICES:
            name = f"{stem}_{z:03d}"
            grey = np.clip(255 * image[..., z].T / high, 0, 255).astype(np.uint8)
            Image.fromarray(grey).save(folder / f"{name}.png")
            ill = int((mask[..., z] > 0).any())
            if ill:
                Image.fromarray(((mask[..., z].T > 0) * 255).astype(np.uint8)).save(folder / f"{name}_mask.png")
            split = "train" if number <= 3 else "test"
            masked = str((folder / f"{name}_mask.png").resolve()) if ill else None
            path = str((folder / f"{name}.png").resolve())
            rows.append({"path": path, "subject": stem, "label": ill, "split": split, "mask": masked})
    return Source(pd.DataFrame(rows), "range", ranked=False)  # height in the head alone tells slices with tumour


SOURCES: dict[str, Callable[[Path, Path], Source]] = {
    "children": _shared("chest_xray"),
    "adults": _shared("adult_chest_xray"),
    "heads, cropped": _shared("head_ct/cropped"),
    "heads, as they are": _shared("head_ct/slices"),
    "knees": _knees,
    "planted": _planted,
    "tumours": _tumour,
}


if __name__ == "__main__":
    main()
