"""What masks do for maps: lesions put into brains, every detector with whole heads and with the brain alone.

    python -m benchmarks.masks HEADS --out OUT [--only NAME ...] [--size 64]

HEADS are whole T1 heads of healthy people (NIfTI). Brain masks are made by thresholds and morphology, which is rough
but the same for all (`brain`; look at OUT/masks.png). Each half of the heads is learned from once, slice by slice, and
the others get one lesion at a time, of each size and contrast. A row is one detector: mean average precision of voxels
*inside the brain mask*, so that both kinds of training are asked the same; beside it the floors.
"""

import argparse
import itertools
import json
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from nibabel import orientations
from PIL import Image as Picture
from scipy import ndimage

from anomaly import Run, learn
from anomaly.files import write_whole
from anomaly.images import Image, read
from anomaly.images.intensities import FOREGROUNDS
from anomaly.images.masking import masked
from anomaly.images.preprocessing import Preprocessing
from anomaly.simulation.planting import Recipe, plant
from anomaly.statistics import metrics
from benchmarks.coverage import heading, line

DETECTORS: dict[str, tuple[str, dict[str, Any]]] = {
    "intensity": ("intensity", {}),
    "mean-image": ("mean-image", {}),
    "pca": ("pca", {}),
    "texture": ("texture", {}),
    "gradients": ("gradients", {}),
    "scattering": ("scattering", {}),
    "features": ("features", {}),
    "nearby": ("nearby", {}),
    "own-features": ("own-features", {}),
    "feature-autoencoder": ("feature-autoencoder", {}),
    "autoencoder": ("autoencoder", {}),
    "vae": ("vae", {}),
    "auto": ("auto", {}),
}
SIZES, CONTRASTS = (4.0, 8.0, 12.0), (1.0, 2.5)
TALL = 120.0  # mm of a head, from its top, that hold the brain


def brain(head: nib.Nifti1Image) -> np.ndarray:
    """A rough mask of the brain in a T1 head, bool on its grid."""
    upright = nib.as_closest_canonical(head)
    values = ndimage.gaussian_filter(np.asarray(upright.dataobj, dtype=float), 0.5)
    voxel = float(np.mean(upright.header.get_zooms()[:3]))
    bright = FOREGROUNDS["otsu"](values, np.ones(values.shape, dtype=bool))
    level = values[bright].mean() / 2
    top = np.flatnonzero((values > level).sum((0, 1)) > 60)[-1]
    upper = (np.arange(values.shape[2]) > top - TALL / voxel)[None, None]
    cross, steps = ndimage.generate_binary_structure(3, 1), round(8 / voxel)
    eroded = ndimage.binary_erosion((values > 0.8 * level) & upper, cross, iterations=steps)
    labels, _ = ndimage.label(eroded)
    core = labels == 1 + np.bincount(labels.ravel())[1:].argmax()
    grown = ndimage.binary_dilation(core, cross, iterations=steps) & (values > 0.35 * level) & upper
    closed = ndimage.binary_closing(np.pad(grown, 8), cross, iterations=round(12 / voxel))[8:-8, 8:-8, 8:-8]
    mask = nib.Nifti1Image(ndimage.binary_fill_holes(closed).astype(np.uint8), upright.affine)
    back = orientations.ornt_transform(
        orientations.io_orientation(upright.affine), orientations.io_orientation(head.affine)
    )
    return np.asarray(mask.as_reoriented(back).dataobj) > 0


def make_masks(heads: Path, out: Path) -> pd.DataFrame:
    """A table of the heads with their masks, made where they are not there yet, and a picture of all."""
    rows, shown = [], []
    opened: Any = nib.load
    (out / "masks").mkdir(parents=True, exist_ok=True)
    for path in sorted(heads.glob("*.nii.gz")):
        mask = out / "masks" / path.name
        head: Any = nib.load(path)
        if not mask.exists():
            nib.save(nib.Nifti1Image(brain(head).astype(np.uint8), head.affine), mask)
        rows.append({"id": path.name.split(".")[0], "path": str(path), "mask": str(mask)})
        shown.append(_edge(np.asarray(head.dataobj, dtype=float), np.asarray(opened(mask).dataobj) > 0))
    Picture.fromarray(np.concatenate(shown)).save(out / "masks.png")
    return pd.DataFrame(rows)


def _edge(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    panels = []
    for axis in range(3):
        grey, inside = (np.take(each, each.shape[axis] // 2, axis) for each in (values, mask))
        panel = np.repeat(np.clip(grey / np.percentile(values, 99.5), 0, 1)[..., None], 3, axis=2)
        panel[inside ^ ndimage.binary_erosion(inside)] = (1, 0, 0)
        panels.append(np.asarray(Picture.fromarray((panel * 255).astype(np.uint8)).resize((200, 200))))
    return np.concatenate(panels, axis=1)


def maps(run: Run, image: Image) -> np.ndarray:
    """The map of an image on its own grid."""
    prepared = run.preprocessing.apply(image)
    return prepared.restore(run.judge(prepared.pixels).map.numpy())


def measured(table: pd.DataFrame, name: str, kind: str, out: Path, prepared: Preprocessing) -> list[dict[str, Any]]:
    """Average precision of one detector, with masks or without, for each head, size and contrast."""
    method, settings = DETECTORS[name]
    rows: list[dict[str, Any]] = []
    halves = [table.iloc[0::2], table.iloc[1::2]]
    for half, (learned, asked) in enumerate([halves, halves[::-1]]):
        folder = out / "runs" / f"{method}_{kind}_{half}_{prepared.shape}_{prepared.intensity}"
        begun = time.perf_counter()
        if not (folder / "run.json").exists():
            normals = learned if kind == "brain" else learned.drop(columns="mask")
            learn(normals, folder, method=method, settings=settings, preprocessing=prepared, choose=0.25)
        run = Run.open(folder)
        seconds = time.perf_counter() - begun
        for row in asked.itertuples():
            image = masked(read(Path(str(row.path))), str(row.mask))
            for number, (radius, contrast) in enumerate(itertools.product(SIZES, CONTRASTS)):
                recipe = Recipe(
                    radius=(radius, radius), unit="mm", contrast=(contrast, contrast), contrast_unit="sd",
                    kind="sphere", polarity="bright", count_per_image=1,
                )  # fmt: skip
                ill = plant(image, recipe, np.random.default_rng([number, half]))
                changed = Image(ill.pixels, image.affine, image.path, image.kind, mask=image.mask)
                truth, inside = ill.mask[image.mask], maps(run, changed)[image.mask]
                found = {"ap": metrics.average_precision(truth, inside), "share": float(truth.mean())}
                if name == "intensity":
                    raw = ill.pixels[0][image.mask]
                    found |= {"raw": metrics.average_precision(truth, raw)}
                rows.append({"head": row.id, "radius": radius, "contrast": contrast, "seconds": seconds, **found})
    return rows


def main() -> None:
    """Measure what is not there yet, and print all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heads", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=list(DETECTORS), choices=list(DETECTORS))
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--intensity", default="percentile")
    arguments = parser.parse_args()
    table = make_masks(arguments.heads, arguments.out)
    columns = ["", "images", *[f"{r:g} mm, {c:g} SD" for r, c in itertools.product(SIZES, CONTRASTS)], "all", "s"]
    heading(columns)
    prepared = Preprocessing(size=arguments.size, intensity=arguments.intensity)
    for name in arguments.only:
        for kind in ("head", "brain"):
            kept = arguments.out / f"{name}_{kind}_{arguments.size}_{arguments.intensity}.json"
            if not kept.exists():
                found = measured(table, name, kind, arguments.out, prepared)
                write_whole(kept, json.dumps(found))
            rows = pd.DataFrame(json.loads(kept.read_text()))
            means = rows.groupby(["radius", "contrast"])["ap"].mean()
            cells = [f"{value:.3f}" for value in means]
            line([name, kind, *cells, f"{rows['ap'].mean():.3f}", f"{rows['seconds'].max():.0f}"])
            if "raw" in rows and kind == "head":
                floors = {"raw image": "raw", "all alike": "share"}
                for floor, column in floors.items():
                    of = rows.groupby(["radius", "contrast"])[column].mean()
                    line([floor, "", *[f"{v:.3f}" for v in of], f"{rows[column].mean():.3f}", ""])


if __name__ == "__main__":
    main()
