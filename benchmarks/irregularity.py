"""Irregularity beside brightness: pixel AP for lesions of multiple sclerosis within the brain, and what it costs.

    python -m benchmarks.irregularity FLAIR LESIONS

FLAIR is a skull-stripped volume, LESIONS its lesion mask on the same grid. The brain is what is not 0 in FLAIR, its
holes filled. Nothing is tuned here but what a row says. The bare loop compares one patch after another in NumPy, as the
method is usually written, on 32 x 32 pixels of a slice.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from anomaly.detectors.irregularity import PERCENTILES, irregularity_map
from anomaly.images import read
from anomaly.nets import irregularity as nets
from anomaly.progression.irregular import irregularities
from anomaly.statistics.metrics import auroc, average_precision
from benchmarks.coverage import heading, line


def blurred(image: np.ndarray, inside: np.ndarray, sigma: float) -> np.ndarray:
    """Means under a Gaussian over what is inside."""
    share = ndimage.gaussian_filter(inside.astype(np.float32), sigma)
    return np.where(inside, ndimage.gaussian_filter(image * inside, sigma) / np.maximum(share, 1e-3), 0)


def floors(image: np.ndarray, inside: np.ndarray) -> dict[str, np.ndarray]:
    """Maps that take no method."""
    middle = np.median(image[inside])
    spread = 1.4826 * np.median(np.abs(image[inside] - middle))
    found = {"FLAIR (any scale: raw, robust z)": image, "size of the robust z": np.abs(image - middle) / spread}
    return found | {f"FLAIR blurred by {sigma:g}": blurred(image, inside, sigma) for sigma in (0.5, 1, 2)}


def slicewise(image: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Each axial slice by itself, on the scale of the volume, unsmoothed."""
    low, high = np.percentile(image[inside], PERCENTILES)
    scaled = torch.as_tensor(np.where(inside, (image - low) / (high - low), 0).clip(0, 1).astype(np.float32))
    x, counts = (each.movedim(2, 0)[:, None] for each in (scaled, torch.as_tensor(inside)))
    with torch.no_grad():
        return np.moveaxis(nets.irregularity(x, counts)[:, 0].numpy(), 0, 2)


def by_loops(image: np.ndarray, inside: np.ndarray, sources: int = 128) -> float:
    """Seconds that a plain loop takes for one slice."""
    begun, draw = time.perf_counter(), np.random.default_rng(0)
    for side in nets.SIDES:
        starts = np.argwhere(inside[: -side or None, : -side or None])
        others = [image[i : i + side, j : j + side] for i, j in draw.permutation(starts)[:sources]]
        for i in range(0, image.shape[0] - side + 1, side):
            for j in range(0, image.shape[1] - side + 1, side):
                if inside[i : i + side, j : j + side].any():
                    patch = image[i : i + side, j : j + side]
                    apart = [patch - other for other in others]
                    found = [0.5 * np.abs(d).max() + 0.5 * abs(d.mean()) for d in apart]
                    np.mean(np.sort(found)[-sources // 8 :])
    return time.perf_counter() - begun


def main() -> None:
    """Print a row a map, then the seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("flair", type=Path)
    parser.add_argument("lesions", type=Path)
    given = parser.parse_args()
    image, truth = read(given.flair).pixels[0], read(given.lesions).pixels[0] > 0
    inside = ndimage.binary_fill_holes(image > 0)
    heading(["map", "AUROC", "AP", "seconds"])
    for name, each in floors(image, inside).items():
        line([name, *judged(each, truth, inside), "-"])
    for name, work in {
        "irregularity, 3D": lambda: irregularity_map(image, inside),
        "irregularity, 3D, unsmoothed as published": lambda: irregularity_map(image, inside, smooth=0),
        "irregularity, 3D, unsmoothed, no penalty": lambda: irregularity_map(image, inside, penalty="none", smooth=0),
        "irregularity, slice by slice, unsmoothed": lambda: slicewise(image, inside),
    }.items():
        begun = time.perf_counter()
        found = work()
        line([name, *judged(found, truth, inside), f"{time.perf_counter() - begun:.1f}"])
    print_cuts(image, truth, inside)
    middle = image.shape[2] // 2
    part = tuple(slice(side // 2 - 16, side // 2 + 16) for side in image.shape[:2])  # the loop is slow
    seen, counts = image[(*part, middle)], inside[(*part, middle)]
    begun = time.perf_counter()
    irregularity_map(seen, counts)
    ours = time.perf_counter() - begun
    print(f"{counts.sum()} pixels of a slice: {ours:.2f} s, a bare loop {by_loops(seen, counts):.1f} s")


def print_cuts(image: np.ndarray, truth: np.ndarray, inside: np.ndarray) -> None:
    """Dice of the map of a first visit, cut into lesions at several places; it is where `irregular.AT` comes from."""
    found, _ = irregularities(image, image, inside)
    for at in np.arange(0.6, 0.96, 0.05):
        told = found > at
        print(f"cut at {at:.2f}: Dice {2 * (told & truth).sum() / (told.sum() + (truth & inside).sum()):.2f}")


def judged(found: np.ndarray, truth: np.ndarray, inside: np.ndarray) -> tuple[str, str]:
    """AUROC and AP within the brain."""
    marked = truth[inside].astype(int)
    return f"{auroc(marked, found[inside]):.3f}", f"{average_precision(marked, found[inside]):.3f}"


if __name__ == "__main__":
    main()
