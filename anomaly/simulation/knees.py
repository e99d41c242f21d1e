"""Draws a whole study of knees into a folder: images, masks, label maps, the table of the cohort, and the truth."""

import logging
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import current_process, get_context, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pandas as pd

from anomaly.errors import CohortError
from anomaly.files import write_whole
from anomaly.images import read
from anomaly.progress import progress
from anomaly.simulation.anatomy import SITES, Drawing, Lesions, draw_knee
from anomaly.simulation.confounding import Confounding
from anomaly.simulation.folders import claim, write_truth
from anomaly.simulation.knee_files import ENDINGS, NUMBERS, flagged, numbered, stored, write_pixels
from anomaly.simulation.knee_sheet import write_knee_sheet
from anomaly.simulation.population import DEFAULT, FINDINGS, GRADED, MONTHS, draw_population
from anomaly.simulation.truth import ABOUT, facts
from anomaly.streams import ordered

SCANNERS = 3
SIDES = {0: "right", 1: "left"}
AHEAD = 4  # scans handed to each process before the first is waited for
HURTING = ("effusion", "marrow")  # what a twin lacks
PERSON = ("age", "sex", "bmi", "site", "womac", "pain", "normal", "split")
OUTCOMES = ("pair", "progression", "incidence", "time", "event")

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One scan to be drawn: whose, which, on which scanner, with which findings."""

    id: str
    person: int
    knee: int
    number: int
    site: int
    lesions: Lesions


@dataclass(frozen=True, kw_only=True)
class Studio:
    """What all scans of a study share: where their files go and how they are drawn."""

    out: Path
    dims: int
    size: int
    seed: int
    twins: bool

    def file(self, kind: str, scan_id: str) -> str:
        """Path of an image, its masks, its label map or its twin, from the folder of the study."""
        return f"{kind}/{scan_id}{ENDINGS[self.dims]}"

    def draw(self, scan: Scan, lesions: Lesions) -> Drawing:
        """The scan with the findings given."""
        return draw_knee(
            lesions, person=scan.person, knee=scan.knee, scan=scan.number, side=SIDES[scan.knee],
            site=SITES[scan.site], seed=self.seed, dims=self.dims, size=self.size,
        )  # fmt: skip

    def take(self, scan: Scan) -> tuple[float, float]:
        """Write those files of a scan that are not there.

        Returns the mean of its pixels as stored, and the mean size of their difference from the twin's (NaN where
        no twin is drawn).
        """
        pictures = ("images", "twins") if self.twins else ("images",)
        paths = {kind: self.out / self.file(kind, scan.id) for kind in (*pictures, "masks", "labels")}
        missing = [kind for kind, path in paths.items() if not path.exists()]
        if not missing:
            return _measured({kind: read(paths[kind]).pixels for kind in pictures})
        drawing = self.draw(scan, scan.lesions)
        pixels = stored(drawing.image, self.dims)
        contents = {"images": pixels, "masks": flagged(drawing.masks), "labels": numbered(drawing.masks)}
        if self.twins:
            without = Lesions(**{**asdict(scan.lesions), **dict.fromkeys(HURTING, 0.0)})
            same = without == scan.lesions
            contents["twins"] = pixels if same else stored(self.draw(scan, without).image, self.dims)
        for kind in missing:
            write_pixels(paths[kind], contents[kind], drawing.affine)
        return _measured(contents)


def simulate_knees(
    out: Path | str,
    *,
    persons: int = 200,
    dims: int = 2,
    size: int = 96,
    image_months: Sequence[int] = (0, 24),
    twins: bool = False,
    scanner_odds: float = 1.0,
    scanner_follows: str = "progression",
    seed: int = 0,
    workers: int | None = None,
) -> Path:
    """Draw a study of knees whose truth is known: who has which finding, who has pain, who gets worse.

    A second call with the same settings goes on where the first was stopped; the files do not depend on the number
    of workers. A script that does not call it below `if __name__ == "__main__":` draws in one process.

    Args:
        out: gets `cohort.csv`, `truth.json`, `README.txt`, `preview.png`, `images/`, `masks/`, `labels/` and, if
            asked for, `twins/`.
        persons: 10 or more, with two knees each.
        dims: 2 for sagittal slices (PNG, 8 bit), 3 for volumes (NIfTI).
        size: pixels of a side; in 3D, voxels from head to foot and from front to back.
        image_months: visits with images, of 0, 12, 24, 36 and 48; 0 must be among them.
        twins: draw each scan once more without effusion and marrow lesions.
        scanner_odds: how much higher the odds of scanner C, whose contrast is the strongest, are for persons with what
            it follows: an odds ratio above 0. 1 leaves scanners to chance, but for age and BMI.
        scanner_follows: "effusion", "marrow", "thinning", "osteophytes" or "pain" at baseline, "progression" or
            "incidence", in either knee.
        seed: 0 or more; the same seed gives the same bytes.
        workers: processes; None takes one a core.

    Returns:
        The path of `cohort.csv`.

    Raises:
        CohortError: arguments out of range, or a folder that holds a simulation made with others.
    """
    if getattr(current_process(), "_inheriting", False):
        raise SystemExit(0)  # a script without a guard, read again by a process it started: that one is of no use
    studio = Studio(out=Path(out), dims=dims, size=size, seed=seed, twins=twins)
    confounding = Confounding(scanner_odds=scanner_odds, scanner_follows=scanner_follows)
    months, last = sorted(set(image_months)), SITES[SCANNERS - 1].name
    _check(dims, months, workers)
    table = draw_population(persons, seed=seed, sites=SCANNERS)
    table["site"] = confounding.sites(table, seed=seed, sites=SCANNERS)
    scanned = _scanned(table, months)
    scans = [_scan(row) for row in scanned.to_dict("records")]
    studio.draw(scans[0], scans[0].lesions)  # says what is wrong with the size before anything is written
    settings = _settings(studio, persons, months, confounding)
    claim(studio.out, settings)
    measured = _all_taken(studio, scans, workers or os.cpu_count() or 1)
    scanned["mean_intensity"], scanned["twin_difference"] = zip(*measured, strict=True)
    cohort = _cohort(scanned, studio)
    path = studio.out / "cohort.csv"
    write_whole(path, cohort.to_csv(index=False, lineterminator="\n"))
    first = scanned[scanned["visit"] == 0]
    known = {**facts(first, sites=SCANNERS), **confounding.facts(first, last, SCANNERS - 1)}
    write_truth(studio.out, settings, {**known, "images": len(cohort), "labels": NUMBERS})
    about = ABOUT.format(persons=persons, images=len(cohort), months=_listed(months))
    write_whole(studio.out / "README.txt", about + confounding.note(last))
    write_knee_sheet(studio.out, cohort)
    return path


def _check(dims: int, months: Sequence[int], workers: int | None) -> None:
    if dims not in ENDINGS:
        raise CohortError(f"dims is {dims}; give 2 for slices or 3 for volumes")
    if 0 not in months or not set(months) <= set(MONTHS):
        raise CohortError(
            f"images are asked for at months {_listed(months) or 'none'}; visits are at {_listed(MONTHS)}, "
            "and 0 must be among those with images"
        )
    if workers is not None and workers < 1:
        raise CohortError(f"workers is {workers}; give 1 or more, or leave it out")


def _settings(studio: Studio, persons: int, months: Sequence[int], confounding: Confounding) -> dict[str, Any]:
    settings = {name: value for name, value in asdict(studio).items() if name != "out"}
    return {
        "kind": "knees",
        "persons": persons,
        **settings,
        **confounding.settings,
        "image_months": list(months),
        "coefficients": asdict(DEFAULT),
    }


def _scanned(table: pd.DataFrame, months: Sequence[int]) -> pd.DataFrame:
    """The rows of visits with an image that were attended, with ids."""
    rows = table[table["attended"] & table["visit"].isin(months)].reset_index(drop=True)
    width = max(4, len(str(int(table["person"].max()) + 1)))
    rows["subject"] = [f"sim{person + 1:0{width}d}" for person in rows["person"]]
    sides = rows["knee"].map(SIDES).str[0].str.upper()
    rows["id"] = rows["subject"] + "-" + sides + "-m" + rows["visit"].map("{:02d}".format)
    return rows


def _scan(row: dict[Any, Any]) -> Scan:
    number = (row["person"] * len(SIDES) + row["knee"]) * len(MONTHS) + MONTHS.index(row["visit"])
    return Scan(
        id=row["id"], person=row["person"], knee=row["knee"], number=number, site=row["site"],
        lesions=Lesions(**{name: row[name] for name in FINDINGS}),
    )  # fmt: skip


def _measured(pixels: Mapping[str, np.ndarray]) -> tuple[float, float]:
    """The mean of an image, and the mean size of its difference from its twin, in units as stored."""
    image = pixels["images"].astype(np.float64)
    return float(image.mean()), float(np.abs(image - pixels["twins"]).mean()) if "twins" in pixels else float("nan")


def _all_taken(studio: Studio, scans: Sequence[Scan], workers: int) -> Iterator[tuple[float, float]]:
    """What `Studio.take` says of each scan, all of them drawn by the end, in this process or in several."""
    with progress("drawing knees", len(scans), unit="scans") as bar:
        for measured in _taken(studio, scans, min(workers, len(scans))):
            bar.advance()
            yield measured


def _taken(studio: Studio, scans: Sequence[Scan], workers: int) -> Iterator[tuple[float, float]]:
    if workers == 1:
        yield from map(studio.take, scans)
        return
    done = 0
    try:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_drawer) as pool:
            for measured in ordered(pool, studio.take, scans, ahead=AHEAD * workers):
                yield measured
                done += 1
    except BrokenProcessPool:
        LOGGER.info("drawing in one process; in a script, call simulate below `if __name__ == '__main__':` for several")
        yield from map(studio.take, scans[done:])


def _drawer() -> None:
    """Make this process one that draws for another one.

    Ctrl-C reaches every process: those that draw finish the scan in hand, and the other one tells them to end. Where it
    was killed nobody does, and they would wait for scans for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if (other := parent_process()) is not None:
        Thread(target=_end_with, args=[other], daemon=True).start()


def _end_with(other: BaseProcess) -> None:
    other.join()
    os._exit(1)


def _cohort(scanned: pd.DataFrame, studio: Studio) -> pd.DataFrame:
    """The table that is written: one row an image."""
    columns = {
        "id": scanned["id"],
        "path": [studio.file("images", one) for one in scanned["id"]],
        "subject": scanned["subject"],
        "side": scanned["knee"].map(SIDES),
        "visit": scanned["visit"],
        **{name: scanned[name] for name in (*PERSON, *OUTCOMES, *GRADED.values())},
        "site": [SITES[site].name for site in scanned["site"]],
        **{f"true_{name}": scanned[name] for name in FINDINGS},
        **{kind: [studio.file(kind, one) for one in scanned["id"]] for kind in ("masks", "labels")},
    }
    if studio.twins:
        columns["twin"] = [studio.file("twins", one) for one in scanned["id"]]
        columns["twin_difference"] = scanned["twin_difference"].round(6)
    return pd.DataFrame({**columns, "simulated": 1})


def _listed(months: Sequence[int]) -> str:
    return ", ".join(map(str, months))
