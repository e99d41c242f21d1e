"""Goes through all images twice: figures of each by itself, then those of all pixels together.

The first time, each image gives its own figures and the values of its marked pixels, which are all the thresholds
there need be; the second time, it is counted by these. Counts are all that is kept of an image, unless all of them
together are small.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from anomaly.errors import EvaluationError, UnreadableImage
from anomaly.evaluation.floors import ALIKE, FLOORS, MAP, floors
from anomaly.evaluation.looking import Case, Seen, look
from anomaly.evaluation.truths import Marking
from anomaly.progress import progress
from anomaly.statistics import regions, thresholds

SMALL = 1 << 24
"""Pixels of all images together that are held between the two rounds rather than read again."""
KEPT, FEWEST, FINEST = 1 << 21, 64, 1024
"""Thresholds by which images are kept apart, for intervals: so many of all images, and bounds of an image's own."""
STEPS = 10
"""Points of the curve of lesions found over false ones."""


@dataclass
class Tally:
    """Counts of one map, or floor, over all images: of all pixels together by all edges, of each image by some.

    marked, rest: (2 K + 1,); found: the same, of the shares of their lesions that marked pixels are. each: for each of
    them a row an image, by every so many edges.
    """

    edges: np.ndarray
    every: int
    marked: np.ndarray = field(init=False)
    rest: np.ndarray = field(init=False)
    found: np.ndarray = field(init=False)
    each: dict[str, list[np.ndarray]] = field(init=False)

    def __post_init__(self) -> None:
        self.marked, self.rest = (np.zeros(2 * self.edges.size + 1, np.int64) for _ in range(2))
        self.found = np.zeros(2 * self.edges.size + 1)
        self.each = {name: list[np.ndarray]() for name in ("marked", "rest", "found")}

    @property
    def exact(self) -> bool:
        """Whether every marked pixel lies at an edge, so that nothing is lost between two."""
        return not self.marked[::2].any()

    def add(self, values: np.ndarray, marked: np.ndarray, weights: np.ndarray) -> None:
        """Count the pixels (n,) of one image; weights are those of the marked ones."""
        inside = values[marked]
        true = thresholds.counted(np.sort(inside), self.edges)
        rest = thresholds.counted(np.sort(values), self.edges) - true
        found = thresholds.weighed(inside, weights, self.edges)
        for name, counts in {"marked": true, "rest": rest, "found": found}.items():
            setattr(self, name, getattr(self, name) + counts)
            self.each[name].append(thresholds.coarser(counts, self.every).astype(np.float32))


@dataclass(frozen=True)
class Looked:
    """What was found of all images that have a map and a truth.

    images: a row an image and map. lesions: a row a lesion. subjects: (n,) of the images, in the order of the tallies.
    false: (n, T) false lesions of each image at the thresholds `steps` of the map; shares: (L, T) of each lesion's
    pixels marked there; rest: (T,) the share of all other pixels that is. values: what the truths hold besides 0, by
    image.
    """

    images: pd.DataFrame
    lesions: pd.DataFrame
    tallies: dict[str, Tally]
    subjects: np.ndarray
    steps: np.ndarray
    false: np.ndarray
    shares: np.ndarray
    rest: np.ndarray
    dims: int
    values: dict[str, list[int]]

    @property
    def pixel(self) -> str:
        """What a pixel is called."""
        return "pixel" if self.dims == 2 else "voxel"


def looked_at(cases: Sequence[Case], marking: Marking, limits: Mapping[str, float], notes: list[str]) -> Looked:
    """Go through the images twice.

    Args:
        cases: the images.
        marking: which values of their truths count.
        limits: values of the map above which a pixel is marked, by name.
        notes: what is left out is added.

    Raises:
        EvaluationError: no image can be used, or none of their truths marks anything.
    """
    first = _First(marking, limits)
    with progress("looking at maps", 2 * len(cases), unit="images") as bar:
        for case in cases:
            bar.advance()
            first.add(case)
        notes += first.told()
        second = _Second(first)
        for seen in first.again():
            bar.advance()
            second.add(seen)
    return Looked(
        images=pd.DataFrame(first.rows),
        lesions=pd.DataFrame(first.lesions),
        tallies=second.tallies,
        subjects=np.array([case.subject for case in first.cases]),
        steps=second.steps,
        false=np.array(second.false),
        shares=np.concatenate(second.shares),
        rest=np.sum(second.rest, axis=0) / max(int(second.tallies[MAP].rest.sum()), 1),
        dims=first.dims.pop(),
        values=first.values,
    )


class _First:
    """The first round: figures of each image and lesion, and the values of marked pixels."""

    def __init__(self, marking: Marking, limits: Mapping[str, float]) -> None:
        self.marking, self.limits = marking, limits
        self.cases: list[Case] = []
        self.rows: list[dict[str, Any]] = []
        self.lesions: list[dict[str, Any]] = []
        self.marked: dict[str, list[np.ndarray]] = {name: [] for name in (MAP, *FLOORS)}
        self.lost: list[str] = []
        self.greyless: list[str] = []
        self.values: dict[str, list[int]] = {}
        self.outside: dict[str, int] = {}
        self.dims: set[int] = set()
        self._kept: list[Seen] | None = []
        self._pixels = 0

    def add(self, case: Case) -> None:
        """Look at one image; what cannot be used is named."""
        try:
            seen = look(case, self.marking)
        except (EvaluationError, UnreadableImage, OSError) as error:
            self.lost.append(f"{case.id}: {error}")
            return
        self.cases.append(case)
        self.dims.add(seen.map.ndim)
        self.values[case.id] = seen.values
        if seen.outside:
            self.outside[case.id] = seen.outside
        if seen.grey is None:
            self.greyless.append(f"{case.id}: {seen.why}")
        self._keep(seen)
        for name, values in maps_of(seen):
            inside = values[seen.marked]
            self.marked[name].append(inside if inside.size <= thresholds.MOST else thresholds.edges(inside))
            self.rows.append(row_of(seen, name, values, self.limits))
        self.lesions += lesions_of(seen, self.limits)

    def _keep(self, seen: Seen) -> None:
        self._pixels += seen.map.size
        if self._kept is not None:
            self._kept = [*self._kept, seen] if self._pixels <= SMALL else None

    def again(self) -> Iterator[Seen]:
        """The same images once more."""
        if self._kept is not None:
            yield from self._kept
        else:
            yield from (look(case, self.marking) for case in self.cases)

    def told(self) -> list[str]:
        """What was left out.

        Raises:
            EvaluationError: all of it, or nothing is marked, or pictures and volumes lie together.
        """
        if not self.cases:
            raise EvaluationError(f"none of {len(self.lost)} images with a truth can be used; {self.lost[0]}")
        if not self.lesions:
            raise EvaluationError(
                f"the truths of all {len(self.cases)} images are empty, so there is nothing to find; look at the "
                "files, and at the labels or flags asked for"
            )
        if len(self.dims) > 1:
            raise EvaluationError("some maps are pictures and some volumes; judge them apart, by --where")
        notes = []
        if self.lost:
            notes.append(f"{len(self.lost)} images were left out of the comparison with the truth: {_some(self.lost)}.")
        if self.greyless:
            notes.append(
                f"The floors of the raw image were left out, since {len(self.greyless)} images cannot be laid beside "
                f"their map: {_some(self.greyless)}."
            )
            self.rows = [row for row in self.rows if row["map"] in (MAP, ALIKE)]
        if self.outside:
            name, pixels = next(iter(self.outside.items()))
            notes.append(
                f"The truth of {len(self.outside)} images reaches out of their masks, by {sum(self.outside.values())} "
                f"pixels in all ({pixels} in {name}); what lies outside is not counted."
            )
        return notes


class _Second:
    """The second round: counts by thresholds that all images share, and lesions at some of them."""

    def __init__(self, first: _First) -> None:
        keep = int(np.clip(KEPT // len(first.cases), FEWEST, FINEST))
        used = {row["map"] for row in first.rows}
        limits = {name: thresholds.edges(np.concatenate(each)) for name, each in first.marked.items() if name in used}
        self.tallies = {name: Tally(edges, -(-edges.size // keep)) for name, edges in limits.items()}
        tops = np.sort([row["highest"] for row in first.lesions])[::-1]
        self.steps = np.unique(tops[np.ceil(np.arange(1, STEPS + 1) * tops.size / STEPS).astype(int) - 1])[::-1]
        self.false: list[list[int]] = []
        self.shares: list[np.ndarray] = []
        self.rest: list[list[int]] = []

    def add(self, seen: Seen) -> None:
        """Count one image."""
        weights = seen.of(regions.weights(seen.labels))[seen.marked]
        for name, values in maps_of(seen):
            if name in self.tallies:
                self.tallies[name].add(values, seen.marked, weights)
        values = seen.of(seen.map)
        above = [seen.laid(values >= step) for step in self.steps]
        self.rest.append([int(np.count_nonzero(values[~seen.marked] >= step)) for step in self.steps])
        self.false.append([regions.beside(each, seen.labels) for each in above])
        shares = [regions.shares(each, seen.labels, seen.sizes) for each in above]
        self.shares.append(np.stack(shares, axis=1))


def maps_of(seen: Seen) -> Iterator[tuple[str, np.ndarray]]:
    """The map of an image and its floors, by name, (n,) each, one at a time."""
    yield MAP, seen.of(seen.map)
    yield from floors(None if seen.grey is None else seen.of(seen.grey), seen.marked.size)


def row_of(seen: Seen, name: str, values: np.ndarray, limits: Mapping[str, float]) -> dict[str, Any]:
    """Figures of one map, or floor, of one image; a floor marks as many pixels as the map does, in its own units."""
    precision, auroc = thresholds.of_one(values, seen.marked)
    told = {"id": seen.case.id, "subject": seen.case.subject, "map": name, "lesions": seen.count}
    told |= {"prevalence": float(seen.marked.mean()), "average_precision": precision, "auroc": auroc}
    for limit, value in limits.items():
        pixels = int(np.count_nonzero(seen.of(seen.map) > value))
        told |= {f"marked_at_{limit}": pixels / values.size}
        told |= {f"dice_at_{limit}": thresholds.of_highest(values, seen.marked, pixels) if seen.count else np.nan}
        if name != ALIKE:
            above = seen.laid(values > value if name == MAP else highest(values, pixels))
            shares = regions.shares(above, seen.labels, seen.sizes)
            told |= {f"found_at_{limit}": int((shares > 0).sum())}
            told |= {f"found_well_at_{limit}": int((shares >= regions.ENOUGH).sum())}
            told |= {f"false_at_{limit}": regions.beside(above, seen.labels)}
    return told


def highest(values: np.ndarray, pixels: int) -> np.ndarray:
    """So many of the highest pixels (n,), those tied at the limit left out where there are more of them."""
    if not pixels:
        return np.zeros(values.shape, bool)
    limit = np.partition(values, values.size - pixels)[values.size - pixels]
    found = values >= limit
    return found if np.count_nonzero(found) == pixels else values > limit


def lesions_of(seen: Seen, limits: Mapping[str, float]) -> list[dict[str, Any]]:
    """A row a lesion of one image: its size, how high the map is there, and how much of it is marked."""
    values = seen.of(seen.map)
    shares = {
        f"share_at_{limit}": regions.shares(seen.laid(values > value), seen.labels, seen.sizes)
        for limit, value in limits.items()
    }
    table = pd.DataFrame({"lesion": np.arange(1, seen.count + 1), "pixels": seen.sizes})
    table["size"] = np.nan if seen.unit is None else seen.sizes * seen.unit
    table["highest"] = regions.highest(seen.map, seen.labels, seen.count)
    table = table.assign(**shares)
    table.insert(0, "id", seen.case.id)
    table.insert(1, "subject", seen.case.subject)
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _some(told: Sequence[str]) -> str:
    return "; ".join(told[:3]) + (f"; and {len(told) - 3} more" if len(told) > 3 else "")
