"""How often images of another kind than the normals are told, how often normals and the ill; and what telling costs.

    python -m benchmarks.unlike DATA --out OUT [--split test] [--only children adults ct heads cost]

DATA holds `chest_xray`, `adult_chest_xray`, `head_ct/slices`, `head_ct/cropped` and `brain_mri/healthy` side by side.
Each set is learned from as a user would (`learn` on its normals of `train`); images of other kinds are made of normals
of the split, or taken from other sets, and scored. A row is one kind of image: how many, how many are told (`unlike_p`
at most 0.05), most often by what, and, as a floor, how many the detector itself flags (`p_value` at most 0.05). Of the
eight heads seven are learned from in turn. What is in OUT is not computed again.
"""

import argparse
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage

from anomaly import learn, score
from anomaly.images import read
from anomaly.images.likeness import described
from anomaly.images.preprocessing import Preprocessing
from anomaly.runs.run import Run
from anomaly.simulation import simulate
from benchmarks.coverage import heading, line

MOST = 300  # images of a kind

Change = Callable[[np.ndarray], np.ndarray]


def halved(pixels: np.ndarray) -> np.ndarray:
    """Means of blocks of two."""
    even = pixels[tuple(slice(0, length // 2 * 2) for length in pixels.shape)].astype(float)
    for axis in range(pixels.ndim):
        even = (even.take(range(0, even.shape[axis], 2), axis) + even.take(range(1, even.shape[axis], 2), axis)) / 2
    return even


def doubled(pixels: np.ndarray) -> np.ndarray:
    """Twice as many pixels along each axis, by linear interpolation."""
    return ndimage.zoom(pixels.astype(float), 2, order=1, grid_mode=True, mode="nearest")


def stripped(pixels: np.ndarray) -> np.ndarray:
    """A head without what lies outside the brain, roughly: bright, eroded, the largest piece, grown again."""
    smooth = ndimage.gaussian_filter(pixels.astype(float), 0.7)
    bright = smooth > 0.5 * np.percentile(smooth, 98)
    labels, _ = ndimage.label(ndimage.binary_erosion(bright, iterations=4))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    brain = ndimage.binary_dilation(labels == sizes.argmax(), iterations=4) & ndimage.binary_dilation(bright)
    return np.where(ndimage.binary_fill_holes(brain), pixels, 0)


CHANGES: Mapping[str, Change] = {
    "inverted": lambda pixels: pixels.max() + pixels.min() - pixels if pixels.ndim == 3 else 255 - pixels,
    "turned by 90 degrees": lambda pixels: np.rot90(pixels),
    "mirrored": lambda pixels: pixels[:, ::-1] if pixels.ndim == 2 else pixels[::-1],
    "half the resolution, same size": lambda pixels: doubled(halved(pixels)),
    "half the resolution, half the size": halved,
}


def main() -> None:
    """Learn, score and print a table in Markdown for each set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", choices=("val", "test"), default="test")
    parser.add_argument("--only", nargs="+", default=[*PICTURES, "heads", "cost"])
    asked = parser.parse_args()
    for name in asked.only:
        print(f"\n{name}\n", flush=True)
        if name == "cost":
            print(json.dumps(cost(asked.data, asked.out)), flush=True)
            continue
        heading(["images", "n", "told", "share", "most often by", "flagged by the detector"])
        for row in _heads(asked.data, asked.out) if name == "heads" else _pictures(name, asked):
            line(row)


def _pictures(name: str, asked: argparse.Namespace) -> Iterable[list[str]]:
    table = _table(asked.data, PICTURES[name])
    normals = table[(table["split"] == "train") & (table["label"] == 0)]
    run = learn(normals, asked.out / name / "run", method="texture", subject="subject", resume=True).folder
    rest = table[table["split"] == asked.split]
    held = rest[rest["label"] == 0]
    side = Image.open(held["path"].iloc[0]).size[0]
    yield _row("normals, held out", [run], [held])
    yield _row("ill", [run], [rest[rest["label"] == 1]])
    made = asked.out / name / asked.split
    for kind, change in CHANGES.items():
        yield _row(kind, [run], [_made(held, made / kind, change)])
    for other, folder in OTHERS.items():
        if other != name:
            known = _table(asked.data, folder)
            known = known[(known["split"] == asked.split) & (known["label"] == 0)]
            yield _row(
                f"{other}, {side} pixels", [run], [_made(known, made / other, lambda grey: _resized(grey, side))]
            )
    yield _row(f"knees, {side} pixels", [run], [_made(_knees(asked.out), made / "knees", lambda g: _resized(g, side))])
    slices = _slices(asked.data, asked.out)
    yield _row(f"slices of MR heads, {side} pixels", [run], [_made(slices, made / "mr", lambda g: _resized(g, side))])


def _heads(data: Path, out: Path) -> Iterable[list[str]]:
    """Whole heads and stripped ones, in 3D: seven of eight are learned from in turn, the eighth is held out."""
    files = sorted((data / "brain_mri" / "healthy").glob("*.nii.gz"))
    whole = pd.DataFrame({"path": map(str, files), "subject": [file.name[:6] for file in files]})
    for kind, table, other in (
        ("whole", whole, _made(whole, out / "heads" / "stripped", stripped)),
        ("stripped", _made(whole, out / "heads" / "stripped", stripped), whole),
    ):
        runs = [
            learn(
                table.drop(index=i), out / "heads" / f"{kind}{i}", method="mean-image", subject="subject", resume=True,
                preprocessing=Preprocessing(dims=3, size=48), choose=0.15, calibrate=0.15,
            ).folder
            for i in table.index
        ]  # fmt: skip
        alone = [table.loc[[i]] for i in table.index]
        yield _row(f"learned from {kind} heads: held out", runs, alone)
        yield _row("whole" if kind == "stripped" else "stripped", runs, [other.loc[[i]] for i in other.index])
        for name, change in CHANGES.items():
            made = _made(table, out / "heads" / f"{kind}, {name}", change)
            yield _row(name, runs, [made.loc[[i]] for i in made.index])
        ct = pd.read_csv(data / "head_ct" / "volumes" / "cohort.csv", dtype={"subject": str}).iloc[: len(files)]
        ct = ct.assign(path=[str((data / "head_ct" / "volumes" / path).resolve()) for path in ct["path"]])
        yield _row("CT of heads", runs, [ct.loc[[i]] for i in ct.index])


def _row(kind: str, runs: list[Path], tables: list[pd.DataFrame]) -> list[str]:
    """Score each table by its run and count."""
    found = []
    for run, table in zip(runs, tables, strict=True):
        place = run.parent / "scores" / f"{run.name} {kind}"
        shutil.rmtree(place, ignore_errors=True)
        table = table.iloc[:: max(1, len(table) // MOST)].iloc[:MOST] if "ill" not in kind else table
        scored = score(run, table, place, heatmaps=("none",), subject="subject", allow_overlap=True)
        found.append(pd.read_csv(scored.path, keep_default_na=False))
    rows = pd.concat(found)
    told = rows[rows["unlike"] != ""]
    reasons = Counter(each for words in told["unlike"] for each in words.split(", ")).most_common(3)
    return [
        kind, str(len(rows)), str(len(told)), f"{len(told) / len(rows):.1%}",
        ", ".join(f"{name} {count}" for name, count in reasons), f"{rows['flagged'].mean():.1%}",
    ]  # fmt: skip


def _table(data: Path, folder: str) -> pd.DataFrame:
    """A set; bloodless slices of patients with blood are neither normal nor ill."""
    found = pd.read_csv(data / folder / "cohort.csv", dtype={"subject": str})
    if "patient_label" in found:
        found = found[(found["label"] == 1) | (found["patient_label"] == 0)]
    paths = [str((data / folder / path).resolve()) for path in found["path"]]
    return found.assign(path=paths)[["path", "subject", "label", "split"]].reset_index(drop=True)


def _made(table: pd.DataFrame, folder: Path, change: Change) -> pd.DataFrame:
    """The images of a table, changed, as files of their own."""
    paths = []
    for path in table["path"]:
        file = folder / Path(path).name
        paths.append(str(file))
        if file.exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        if path.endswith(".nii.gz"):
            source = nib.nifti1.Nifti1Image.from_filename(path)
            pixels = change(np.asarray(source.dataobj, dtype=np.float32))
            shrunk = np.diag([*(2.0 if pixels.shape[0] <= source.shape[0] // 2 else 1.0,) * 3, 1.0])
            nib.save(nib.nifti1.Nifti1Image(pixels.astype(np.float32), source.affine @ shrunk), file)
        else:
            grey = np.asarray(Image.open(path).convert("L"))
            Image.fromarray(np.clip(np.rint(change(grey)), 0, 255).astype(np.uint8)).save(file)
    return table.assign(path=paths)


def _resized(grey: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(Image.fromarray(grey).resize((side, side), Image.Resampling.LANCZOS))


def _knees(out: Path) -> pd.DataFrame:
    folder = out / "knees"
    if not (folder / "cohort.csv").exists():
        simulate("knees", folder, persons=60, size=96, image_months=(0,), seed=1)
    found = pd.read_csv(folder / "cohort.csv", dtype={"subject": str})
    return found.assign(path=[str((folder / path).resolve()) for path in found["path"]])[["path", "subject"]]


def _slices(data: Path, out: Path) -> pd.DataFrame:
    """Axial slices of the MR heads as pictures."""
    rows = []
    for file in sorted((data / "brain_mri" / "healthy").glob("*.nii.gz")):
        volume = np.asarray(nib.nifti1.Nifti1Image.from_filename(file).dataobj, dtype=float)
        for z in range(40, 75, 5):
            place = out / "mr" / f"{file.name[:6]}_{z}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            grey = np.clip(255 * np.rot90(volume[:, :, z]) / np.percentile(volume, 99.8), 0, 255)
            Image.fromarray(grey.astype(np.uint8)).save(place)
            rows.append({"path": str(place), "subject": file.name[:6]})
    return pd.DataFrame(rows)


def cost(data: Path, out: Path) -> dict[str, float]:
    """Milliseconds of processor time to score an image and to say how unlike it is, their ratio; medians of five."""
    table = _table(data, "chest_xray")
    normals, rest = table[table["split"] == "train"], table[table["split"] == "val"].iloc[:320]
    run = Run.open(learn(normals, out / "cost", method="autoencoder", settings={"steps": 20}, resume=True).folder)
    images = [read(Path(path)) for path in rest["path"]]
    prepared = [run.preprocessing.apply(image) for image in images]
    likeness = run.likeness
    assert likeness is not None

    def telling() -> None:
        for start in range(0, len(images), 32):
            pairs = zip(images[start : start + 32], prepared[start : start + 32], strict=True)
            likeness.told(np.stack([described(*each) for each in pairs]))

    def scoring(heatmaps: str) -> None:
        shutil.rmtree(out / "cost_scores", ignore_errors=True)
        score(run.folder, rest, out / "cost_scores", heatmaps=(heatmaps,), allow_overlap=True)

    def spent(work: Callable[[], None]) -> float:
        begun = time.process_time()
        work()
        return 1000 * (time.process_time() - begun) / len(rest)

    turns = [[spent(work) for work in (telling, lambda: scoring("none"), lambda: scoring("png"))] for _ in range(5)]
    tell, bare, drawn = np.median(turns, axis=0).tolist()
    return {"ms to tell": tell, "ms without heatmaps": bare, "share": tell / bare, "ms": drawn, "of all": tell / drawn}


PICTURES = {"children": "chest_xray", "adults": "adult_chest_xray", "ct": "head_ct/cropped"}
OTHERS = {**PICTURES, "ct, whole slices": "head_ct/slices"}


if __name__ == "__main__":
    main()
