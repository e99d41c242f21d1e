"""Images with label maps for `benchmarks.segmentation`: simulated knees of two sites, and patients with a tumour."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from torch import Tensor

from anomaly.simulation.anatomy import SITES, Drawing, Lesions, Site, draw_knee

KNEE = ("bone", "cartilage", "effusion", "marrow lesion")
MASKS = ("bone", "cartilage", "effusion", "marrow")
"""Of a drawing, in this order, so that lesions lie on top."""
FRAIL = {"effusion": 0.4, "marrow": 0.4, "thinning": 0.6, "osteophytes": 0.6}
"""Share of the persons who have the finding."""
BRIGHT_FAT = Site(name="unsuppressed", gamma=1.0, fat=1.9, fluid=0.9, blur=0.5, noise=0.03, bias=0.3)
"""A scanner whose fat suppression does little: marrow is brighter than muscle there, and darker at all of `SITES`."""
PLACES = {"X": SITES[0], "Y": BRIGHT_FAT}
SIZE, SEED = 96, 7
PERSONS = {"annotated": 100, "unlabelled": 100, "val": 30, "test": 60}
SLICES = range(16, 64, 3)  # of a tumour patient's volume that hold most of the brain
CROP = slice(12, 108)


@dataclass(frozen=True)
class Heap:
    """Images (n, 1, *space) float32 in [-1, 1], the places of their classes (n, *space) int64, mm a pixel."""

    x: np.ndarray
    places: np.ndarray
    spacing: float = 1.5

    def of(self, chosen: Sequence[int] | np.ndarray) -> "Heap":
        """Some of them."""
        return Heap(self.x[chosen], self.places[chosen], self.spacing)

    def beside(self, other: "Heap") -> "Heap":
        """Both together."""
        x, places = np.concatenate([self.x, other.x]), np.concatenate([self.places, other.places])
        return Heap(x, places, self.spacing)


class Windows:
    """Batch k: `batch` windows, with the places of their classes where they are asked for; the same whenever asked.

    Of windows with labels every second one holds a pixel of a class that is drawn, each as likely.
    """

    def __init__(self, heap: Heap, *, side: int, batch: int, seed: int, labels: bool) -> None:
        self.heap, self.side, self.batch, self.seed, self.labels = heap, side, batch, seed, labels
        classes = range(1, heap.places.max() + 1) if labels else ()
        self.marked = [pixels for k in classes if len(pixels := np.argwhere(heap.places == k))]

    @property
    def anywhere(self) -> "Windows":
        """The same of windows that lie anywhere."""
        like = Windows(self.heap, side=self.side, batch=self.batch, seed=self.seed, labels=self.labels)
        like.marked = []
        return like

    def __getitem__(self, k: int) -> Any:
        random = np.random.default_rng([self.seed, k])
        last = self.heap.x.shape[-1] - self.side
        chosen = random.integers(len(self.heap.x), size=self.batch)
        starts = random.integers(last + 1, size=(self.batch, 2))
        for place in range(0, self.batch if self.marked else 0, 2):
            pixels = self.marked[random.integers(len(self.marked))]
            which, *pixel = pixels[random.integers(len(pixels))]
            chosen[place], starts[place] = which, (pixel - random.integers(self.side, size=2)).clip(0, last)
        x = self._cut(self.heap.x, chosen, starts)
        return (x, self._cut(self.heap.places, chosen, starts)) if self.labels else x

    def _cut(self, values: np.ndarray, chosen: np.ndarray, starts: np.ndarray) -> Tensor:
        windows = [
            values[which, ..., row : row + self.side, column : column + self.side]
            for which, (row, column) in zip(chosen, starts, strict=True)
        ]
        return torch.from_numpy(np.stack(windows))


def knees(folder: Path, *, site: str, part: str, few: bool = False) -> Heap:
    """One knee of each person of a part, at one site; drawn once. Persons of a part are the same at both sites."""
    count = 12 if few else PERSONS[part]
    file = folder / f"knees_{site}_{part}_{count}_{drawn_by()}.npz"
    if not file.exists():
        first = 1000 * list(PERSONS).index(part)
        drawn = [drawn_knee(first + k, PLACES[site]) for k in range(count)]
        folder.mkdir(parents=True, exist_ok=True)
        x, places = (np.stack(each) for each in zip(*drawn, strict=True))
        np.savez_compressed(file, x=x, places=places)
    with np.load(file) as kept:
        return Heap(kept["x"], kept["places"])


def drawn_by() -> str:
    """A few digits that change with whatever knees are drawn by."""
    return digits({name: asdict(site) for name, site in PLACES.items()}, FRAIL, MASKS, SIZE, SEED)


def digits(*told: Any) -> str:
    """A few hexadecimal digits that are the same for what is the same."""
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:8]


def drawn_knee(person: int, site: Site) -> tuple[np.ndarray, np.ndarray]:
    """Image (1, 96, 96) and places of classes."""
    random = np.random.default_rng([SEED, person])
    severe = {name: random.uniform(0.2, 1) * (random.random() < share) for name, share in FRAIL.items()}
    drawing = draw_knee(
        Lesions(**severe), person=person, knee=0, scan=person, side="right", site=site, seed=SEED, size=SIZE
    )
    return shown(drawing.image)[None], exclusive(drawing)


def exclusive(drawing: Drawing) -> np.ndarray:
    """0 background, then bone, cartilage, effusion and marrow lesion, each over those before."""
    places = np.zeros(drawing.image.shape, dtype=np.int64)
    for k, name in enumerate(MASKS):
        places[drawing.masks[name]] = k + 1
    return places


def shown(image: np.ndarray) -> np.ndarray:
    """Between two of its own percentiles, as [-1, 1] float32."""
    low, high = np.percentile(image, (0.5, 99.5))
    scaled: np.ndarray = ((image - low) / (high - low)).clip(0, 1).astype(np.float32)
    return scaled * 2 - 1


def tumours(data: Path) -> list[Heap]:
    """Slices of each patient's FLAIR with the tumour, a heap a patient."""
    found = []
    for file in sorted(data.glob("*_FLAIR.nii.gz")):
        image, mask = (
            np.asarray(nib.load(path).dataobj)[CROP, CROP, SLICES]  # type: ignore[attr-defined]
            for path in (file, file.with_name(file.name.replace("FLAIR", "tumour")))
        )
        x = np.stack([shown_brain(image, k) for k in range(image.shape[2])])
        found.append(Heap(x[:, None], np.moveaxis(mask > 0, 2, 0).astype(np.int64), spacing=2.0))
    return found


def shown_brain(volume: np.ndarray, k: int) -> np.ndarray:
    """A slice in [-1, 1], by the brightest percent of its volume."""
    high = np.percentile(volume[volume > 0], 99)
    scaled: np.ndarray = (volume[..., k] / high).clip(0, 1).astype(np.float32)
    return scaled * 2 - 1
