"""Toy cohorts: what every kind of them shares, from one drawn image to a folder with its truth and its floors."""

import os
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from anomaly.errors import CohortError
from anomaly.files import write_whole
from anomaly.images import read
from anomaly.images.arrays import write_array
from anomaly.images.pictures import write_grey
from anomaly.progress import progress
from anomaly.simulation.folders import claim, write_sheet, write_truth
from anomaly.streams import ordered

SHARES = {"train": 0.64, "val": 0.16, "test": 0.2}
FEWEST, SMALLEST = 20, 32
AHEAD, SHOWN = 32, 8
FOLDERS = {"path": "images", "mask": "masks", "truth": "truth", "twin": "twins"}
CHANGED = 0.1
"""A pixel counts as changed, and belongs to the mask, where case and healthy twin differ by more than this."""
SIGN = "truth/ID.npy is the healthy twin minus the case; a map of where the case has more has the opposite sign"
NCC = "Pearson's correlation over the pixels of one image of the map and the truth; mean over the test cases"


@dataclass(frozen=True)
class Drawn:
    """One image, (size, size) float32; its mask, bool; and healthy twin minus image, float32, where there is a twin."""

    image: np.ndarray
    mask: np.ndarray
    truth: np.ndarray | None = None

    @property
    def twin(self) -> np.ndarray | None:
        """The same image without the disease."""
        return None if self.truth is None else self.image + self.truth


@dataclass(frozen=True)
class Drawings:
    """Images in memory with their truth.

    Args:
        images: (n, size, size) float32.
        masks: (n, size, size) bool, where the disease is; nowhere in controls.
        label: (n,) int, 1 = case.
        split: (n,) "train", "val" or "test".
        truth: (n, size, size) float32, healthy twin minus image, 0 in controls; None where the mask is the truth.
    """

    images: np.ndarray
    masks: np.ndarray
    label: np.ndarray
    split: np.ndarray
    truth: np.ndarray | None


@dataclass(frozen=True, kw_only=True)
class Toy(ABC):
    """A kind of toy cohort, whose fields are its settings; what an image shows depends on them alone.

    Args:
        count: images, of which 64 % are to train, 16 % to choose and 20 % to test by; 20 or more.
        size: rows and columns; 32 or more. Everything in the images scales with it.
        seed: 0 or more. Image i of each part has a random stream of its own, so that no parts share an image.

    Raises:
        CohortError: settings out of range.
    """

    kind: ClassVar[str]
    leaves: ClassVar[tuple[str, ...]] = ("mask",)
    count: int
    size: int
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("count", FEWEST), ("size", SMALLEST), ("seed", 0)):
            if getattr(self, name) < least:
                raise CohortError(f"{name} is {getattr(self, name)}; expected {least} or more")

    @abstractmethod
    def plan(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Decide what image `index` of a part shows: its label, 0 or 1, and what else belongs in the table."""

    @abstractmethod
    def draw(self, plan: Mapping[str, Any], rng: np.random.Generator) -> Drawn:
        """Draw what was planned."""

    @abstractmethod
    def floors(self, image: np.ndarray, healthy: np.ndarray, cases: np.ndarray) -> dict[str, np.ndarray]:
        """Maps that need no method, from a case and the means of the healthy and the cases in train."""

    def places(self) -> list[tuple[str, int]]:
        """Part and number of every image, train first."""
        parts = {name: round(share * self.count) for name, share in SHARES.items()}
        parts["train"] += self.count - sum(parts.values())
        return [(part, index) for part, images in parts.items() for index in range(images)]

    def planned(self, part: str, index: int) -> tuple[dict[str, Any], np.random.Generator]:
        """The plan of one image and the random stream to draw it with."""
        rng = np.random.default_rng([self.seed, list(SHARES).index(part), index])
        return self.plan(index, rng), rng


def collect(toy: Toy, parts: Sequence[str] = tuple(SHARES)) -> Drawings:
    """Draw a cohort, or only some parts of it, into memory; the same images as `write_toy` writes."""
    places = [place for place in toy.places() if place[0] in parts]
    images = np.empty((len(places), toy.size, toy.size), np.float32)
    masks, truth = np.empty(images.shape, bool), None
    label = np.empty(len(places), int)
    for row, place in enumerate(places):
        plan, rng = toy.planned(*place)
        drawn = toy.draw(plan, rng)
        images[row], masks[row], label[row] = drawn.image, drawn.mask, plan["label"]
        if drawn.truth is not None:
            truth = np.zeros_like(images) if truth is None else truth
            truth[row] = drawn.truth
    return Drawings(images, masks, label, np.array([part for part, _ in places]), truth)


def write_toy(toy: Toy, out: Path) -> Path:
    """Draw a cohort into a folder, image by image so that memory does not grow, and give its `cohort.csv`.

    Writes `images/ID.npy`, for cases `masks/ID.png`, `truth/ID.npy` (healthy twin minus case) where the kind has
    a twin, and `twins/ID.npy` for ellipses; `preview.png`; `truth.json` with the settings and the floors,
    each the mean over test cases of the correlation of a map that needs no method with the truth. Called again
    with the same settings it draws only what is missing.

    Raises:
        CohortError: the folder holds a simulation with other settings.
    """
    settings = {"kind": toy.kind, **asdict(toy)}
    claim(out, settings)
    rows, tally = [], _Tally(toy)
    places = toy.places()
    workers = min(4, os.cpu_count() or 1)
    with progress(f"drawing {toy.kind}", len(places), unit="images") as bar, ThreadPoolExecutor(workers) as pool:
        for row, drawn in ordered(pool, lambda place: _kept_or_drawn(toy, out, *place), places, ahead=AHEAD):
            rows.append(row)
            tally.add(row, drawn)
            bar.advance()
    write_sheet(out / "preview.png", tally.shown, f"{toy.kind}, nobody's images")
    path = out / "cohort.csv"
    write_whole(path, pd.DataFrame(rows).to_csv(index=False))
    write_truth(out, settings, {"counts": tally.counts(), **tally.facts()})
    return path


def ncc(a: np.ndarray, b: np.ndarray) -> float:
    """How alike two maps of one shape are, whatever their scale: Pearson's correlation; 0 where one is flat."""
    x, y = (each - each.mean(dtype=np.float64) for each in (a, b))
    size = float(np.sqrt(np.sum(x * x) * np.sum(y * y)))
    return float(np.sum(x * y)) / size if size else 0.0


@dataclass
class _Tally:
    """What is counted while images pass: means of train, floors on test, pictures for the preview."""

    toy: Toy
    sums: dict[int, np.ndarray] = field(default_factory=dict)
    numbers: dict[tuple[str, int], int] = field(default_factory=lambda: defaultdict(int))
    scores: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    shown: dict[str, list[np.ndarray]] = field(default_factory=lambda: {"controls": [], "cases": [], "truth": []})

    def add(self, row: Mapping[str, Any], drawn: Drawn) -> None:
        part, label = row["split"], row["label"]
        self.numbers[part, label] += 1
        if part == "train":
            self.sums[label] = self.sums.get(label, 0) + drawn.image.astype(np.float64)
        target = drawn.mask if drawn.truth is None else drawn.truth
        if part == "test" and label and len(self.sums) == 2:
            healthy, cases = (self.sums[each] / self.numbers["train", each] for each in (0, 1))
            for name, map_ in self.toy.floors(drawn.image, healthy, cases).items():
                self.scores[name].append(ncc(map_, target))
        if part == "test" and len(self.shown[("controls", "cases")[label]]) < SHOWN:
            self.shown[("controls", "cases")[label]].append(drawn.image)
            if label:
                self.shown["truth"].append(target)

    def counts(self) -> dict[str, dict[str, int]]:
        names = {0: "controls", 1: "cases"}
        return {part: {name: self.numbers[part, label] for label, name in names.items()} for part in SHARES}

    def facts(self) -> dict[str, Any]:
        floors = {name: {"ncc": float(np.mean(each)), "cases": len(each)} for name, each in self.scores.items()}
        return {"truth": SIGN if "truth" in self.toy.leaves else "the mask", "ncc": NCC, "floors": floors}


def _kept_or_drawn(toy: Toy, out: Path, part: str, index: int) -> tuple[dict[str, Any], Drawn]:
    """The row of the table and the image, from the folder where an earlier call left it there."""
    plan, rng = toy.planned(part, index)
    name = f"sim-{part}-{index:05d}"
    leaves = ("path", *toy.leaves) if plan["label"] else ("path",)
    files = {column: f"{FOLDERS[column]}/{name}{'.png' if column == 'mask' else '.npy'}" for column in leaves}
    if all((out / file).exists() for file in files.values()):
        drawn = _read(out, files)
    else:
        drawn = toy.draw(plan, rng)
        _write(out, files, drawn)
    links = {column: files.get(column, "") for column in toy.leaves}
    return {"id": name, "path": files["path"], "subject": name, **plan, "split": part, **links, "simulated": 1}, drawn


def _write(out: Path, files: Mapping[str, str], drawn: Drawn) -> None:
    contents = {"truth": drawn.truth, "twin": drawn.twin, "path": drawn.image}
    for column in ("truth", "twin", "path"):
        if column in files and (values := contents[column]) is not None:
            write_array(out / files[column], values)
    if "mask" in files:
        write_grey(out / files["mask"], drawn.mask)


def _read(out: Path, files: Mapping[str, str]) -> Drawn:
    image = np.load(out / files["path"])
    mask = read(out / files["mask"]).pixels[0] > 0 if "mask" in files else np.zeros(image.shape, bool)
    return Drawn(image, mask, np.load(out / files["truth"]) if "truth" in files else None)
