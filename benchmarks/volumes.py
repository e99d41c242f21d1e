"""A small bright ball in a head: does a default training of a handful of volumes find it?

    python -m benchmarks.volumes HEADS --out OUT [--only auto nearby ...] [--brain]

HEADS are whole T1 heads of healthy people (NIfTI). The last one is held out, the others are learned from as volumes
with nothing else set; `--brain` gives the rough brain masks of `benchmarks.masks` to both. A ball of 6 mm radius is put
into the held-out head at five places (seeds 0 to 4), as bright as the 99.5th percentile of what counts ("white") or as
its brightest voxel. A row is a map on the grid of the head: in how many of five the highest voxel of all lies in the
ball, in how many the ball's mean is above the 95th percentile of the rest of what counts; floors beside.
"""

import argparse
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.affines import voxel_sizes
from scipy import ndimage

from anomaly import Run, learn
from anomaly.images import Image, read
from anomaly.images.masking import masked
from anomaly.images.preprocessing import Preprocessing
from anomaly.simulation.planting import foreground
from benchmarks.coverage import heading, line
from benchmarks.masks import make_masks

RADIUS, DEEP, SEEDS = 6.0, {"head": 15.0, "brain": 8.0}, 5  # mm


def balls(image: Image, counted: np.ndarray, deep: float) -> list[np.ndarray]:
    """Where the balls lie, bool (*space) each, so deep (mm) below the surface of what counts."""
    spacing = voxel_sizes(image.affine)
    inside = np.argwhere(ndimage.distance_transform_edt(counted, sampling=spacing) >= deep)
    found = []
    for seed in range(SEEDS):
        centre = inside[np.random.default_rng(seed).integers(len(inside))]
        apart = (np.moveaxis(np.indices(image.space), 0, -1) - centre) * spacing
        found.append(np.linalg.norm(apart, axis=-1) <= RADIUS)
    return found


def maps_of(run: Run, pixels: np.ndarray, image: Image) -> dict[str, np.ndarray]:
    """The map of a run and its floors, on the grid of the image."""
    prepared = run.preprocessing.apply(
        Image(pixels[None], image.affine, image.path, image.kind, source=image.source, mask=image.mask)
    )
    x, mean = prepared.pixels, run.calibration.mean_image
    floors = {"the image": x.mean(1, keepdims=True) + 1, "|x - mean|": np.abs(x - mean).mean(1, keepdims=True)}
    return {name: prepared.restore(each) for name, each in {"": run.judge(x).map.numpy(), **floors}.items()}


def measured(
    run: Run, image: Image, counted: np.ndarray, deep: float, value: float
) -> dict[str, list[tuple[bool, bool]]]:
    """Of each map and ball: whether the highest voxel lies in it, whether its mean is above 95 % of the rest."""
    found: dict[str, list[tuple[bool, bool]]] = {}
    for ball in balls(image, counted, deep):
        for name, map_ in maps_of(run, np.where(ball, np.float32(value), image.pixels[0]), image).items():
            highest = bool(ball[np.unravel_index(map_.argmax(), map_.shape)])
            above = bool(map_[ball].mean() > np.percentile(map_[counted & ~ball], 95))
            found.setdefault(name, []).append((highest, above))
    return found


def main() -> None:
    """Learn what is not there yet, and print all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heads", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=["auto", "nearby", "autoencoder"])
    parser.add_argument("--brain", action="store_true")
    arguments = parser.parse_args()
    table, kind = make_masks(arguments.heads, arguments.out), "brain" if arguments.brain else "head"
    normals, held_out = table.iloc[:-1], table.iloc[-1]
    image = read(Path(held_out["path"]))
    counted = foreground(image.pixels[0])
    if arguments.brain:
        image = masked(image, held_out["mask"])
        counted = image.mask if image.mask is not None else counted
    inside = image.pixels[0][counted]
    values = {"white": float(np.percentile(inside, 99.5)), "brightest": float(inside.max())}
    heading(["", *[f"{each}: {what}" for each in values for what in ("maximum", "above 95 %")], "s", "GB"])
    told: dict[str, Any] = {}
    for method in arguments.only:
        folder, begun = arguments.out / f"{method}_{kind}", time.perf_counter()
        if not (folder / "run.json").exists():
            chosen = normals if arguments.brain else normals.drop(columns="mask")
            learn(chosen, folder, method=method, preprocessing=Preprocessing(dims=3))
        seconds, memory = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        run = Run.open(folder)
        found = [measured(run, image, counted, DEEP[kind], value) for value in values.values()]
        for name in found[0]:
            cells = [f"{sum(each[k] for each in rows[name])}/{SEEDS}" for rows in found for k in (0, 1)]
            told[f"floor: {name}" if name else method] = cells
        line([method, *told.pop(method), f"{seconds:.0f}", f"{memory:.1f}"])
    for name, cells in told.items():
        line([name, *cells, "", ""])


if __name__ == "__main__":
    main()
