"""Draw images of any number of label maps: streaming, and only what is missing."""

import hashlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.cohorts.cohort import read_cohort
from anomaly.cohorts.labels import COLUMN, base_of, with_labels
from anomaly.cohorts.masks import Given, suited
from anomaly.cohorts.tables import Form, GrowingTable
from anomaly.errors import AnomalyError, CohortError, UnreadableImage
from anomaly.files import write_whole
from anomaly.images import Image
from anomaly.images.finding import Globs
from anomaly.images.image import alone
from anomaly.progress import progress
from anomaly.shown import Readable
from anomaly.streams import ordered
from anomaly.synthesis.reading import read_map
from anomaly.synthesis.run import SynthesizerRun
from anomaly.synthesis.writing import back_on_grid, write_drawn
from anomaly.training.machine import one_core_left

logger = logging.getLogger(__name__)
AHEAD = 4
SYNTHESES = Form("synthesis", "synthesize.json", ("id", "subject", "path", "file"), files="file")
Drawing = Callable[[Mapping[str, Any], Sequence[int]], tuple[Image, list[np.ndarray]]]
"""A row of label maps and a seed for each draw -> the file of the map, and images (C, *space) on its grid."""


@dataclass(frozen=True, repr=False)
class Synthesized(Readable):
    """What a call of `synthesize` did.

    Args:
        path: the table of what was drawn.
        cohort: the drawn images as a table to go on with.
        errors: the table of label maps that cannot be used, there if there are any.
        new, before, failed: label maps drawn now, by an earlier call, and that cannot be used.
    """

    path: Path
    cohort: Path
    errors: Path
    new: int
    before: int
    failed: int

    def _in_short(self) -> tuple[str, dict[str, object]]:
        title = f"{self.new} label maps new, {self.before} from before, {self.failed} unusable"
        return title, {"table": self.path, "cohort": self.cohort, "errors": self.errors if self.failed else None}


def synthesize(
    run: Path | str,
    labels: Path | str | pd.DataFrame,
    out: Path | str,
    *,
    column: str | None = None,
    draws: int = 1,
    seed: int = 0,
    subject: str | None = None,
    subject_pattern: str | None = None,
    where: Mapping[str, str] | None = None,
    match: Globs = None,
    exclude: Globs = None,
    mask: Given = None,
    device: str = "auto",
    workers: int | None = None,
) -> Synthesized:
    """Draw images of label maps; this is `anomaly synthesize apply`.

    Label maps need no image: moved, grown, or made by hand. Each is brought to the grid of the network, and what is
    drawn back to its own. Writes `ID_synthesized.png` or `.nii.gz` (`ID-2_synthesized` of a second draw); name and
    header say that it was drawn. `synthesis.csv` has id, subject, path of the label map and file, `cohort.csv` a row a
    drawn image: path, labels, subject, drawn_from, run. A second call with the same arguments draws what is missing.

    Args:
        run: what `learn_synthesis` left.
        labels: a folder of label maps, or a table: of its column `column`, else `labels`, else `path`.
        out: gets all that is written.
        column: of a table, the files of label maps.
        draws: images of each map.
        seed: of what is drawn by chance; each map has its own by its id.
        subject, subject_pattern, where, match, exclude: see `read_cohort`.
        mask: what of label maps counts, for a run that was trained with masks.
        device: "auto", "cpu", "cuda", ...
        workers: threads that read and write; None takes one a core.

    Raises:
        AnomalyError: fewer draws than 1.
        CohortError: no label maps, or none that can be used.
        RunError: a run that cannot be used, or an `out` that holds images by another.
    """
    opened, out = SynthesizerRun.open(run, device=device), Path(out)
    cohort = read_maps(
        labels, column=column, subject=subject, subject_pattern=subject_pattern, where=where, match=match,
        exclude=exclude, mask=mask,
    )  # fmt: skip
    cohort = suited(cohort, mask, opened.preprocessing.mask, str(run))
    seen = sorted(set(cohort["subject"]) & opened.trained)
    if seen:
        logger.info("%d of these subjects were trained on; their images are drawn, not measured anew", len(seen))
    told = {"synthesizer": opened.identity, "run": os.path.relpath(opened.folder, out)}
    says = f"anomaly: drawn by {opened.synthesizer.name} {opened.identity[:12]}, not measured"
    return written(_by_run(opened), cohort, out, draws=draws, seed=seed, told=told, says=says, workers=workers)


def read_maps(
    labels: Path | str | pd.DataFrame, *, column: str | None = None, mask: Given = None, **whose: Any
) -> pd.DataFrame:
    """One row a label map: id, path, subject, perhaps mask.

    Raises:
        CohortError: there are none.
    """
    table = read_cohort(labels, mask=mask, missing="keep", **whose)
    told = dict(table.attrs)
    asked = column or (COLUMN if COLUMN in table else None)
    if asked is not None and asked != "path":
        name = "the table" if isinstance(labels, pd.DataFrame) else str(labels)
        if asked not in table:
            raise CohortError(f"{name}: has no column {asked!r}; its columns are {', '.join(map(str, table.columns))}")
        table = with_labels(table, asked, base_of(labels), name)
        table = table[table[COLUMN] != ""]
        table = table.assign(path=table[COLUMN])
    table = table.drop(columns=[COLUMN], errors="ignore").reset_index(drop=True)
    twice = table["path"][table["path"].duplicated()]
    if len(twice):
        raise CohortError(f"{len(twice)} label maps are there twice, such as {twice.iloc[0]}; name each once")
    table.attrs = told
    return table


def seed_of(seed: int, name: str, draw: int) -> int:
    """The seed of one draw of one label map, by its name alone, whatever else is drawn."""
    digest = hashlib.sha256(f"{seed}:{name}:{draw}".encode()).digest()
    return int.from_bytes(digest[:4], "little")


def written(
    drawing: Drawing,
    cohort: pd.DataFrame,
    out: Path,
    *,
    draws: int,
    seed: int,
    told: Mapping[str, Any],
    says: str,
    workers: int | None,
) -> Synthesized:
    """Draw every label map of a cohort and write what `synthesize` says.

    Raises:
        AnomalyError: fewer draws than 1.
        CohortError: no label map can be used.
        RunError: `out` holds images made otherwise.
    """
    if draws < 1:
        raise AnomalyError(f"draws is {draws}; give 1 or more")
    rows: list[Any] = cohort.to_dict("records")
    table = GrowingTable(SYNTHESES, out, settings={**told, "draws": draws, "seed": seed}, columns=["values"])
    left = table.left(rows)
    before = len(rows) - len(left)

    def one(row: Mapping[str, Any]) -> dict[str, Any]:
        about = {name: row[name] for name in ("id", "subject", "path", "mask") if name in row}
        try:
            image, drawn = drawing(row, [seed_of(seed, str(row["id"]), k) for k in range(draws)])
            files = [_kept(out, _name(row, k), image, each, says) for k, each in enumerate(drawn)]
        except UnreadableImage as error:
            return {**about, "error": str(error)}
        return {**about, "file": ";".join(files), "values": f"{drawn[0].min():.4g} to {drawn[0].max():.4g}"}

    with (
        ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool,
        table,
        one_core_left(),
        progress("drawing", len(rows), done=before, unit="label maps") as bar,
    ):
        for finished in ordered(pool, one, left, ahead=AHEAD):
            table.add([finished])
            bar.advance()
    found = pd.read_csv(table.path, dtype=str, keep_default_na=False)
    if found.empty:
        raise CohortError(f"none of the {len(rows)} label maps can be drawn; {table.errors} says what is wrong")
    path = _write_cohort(out, found, cohort, str(told.get("run", told["synthesizer"])))
    return Synthesized(table.path, path, table.errors, table.added, before, table.failed)


def _kept(out: Path, name: str, image: Image, values: np.ndarray, says: str) -> str:
    return alone(image.path, lambda: write_drawn(out, name, image, values, says).name, "drawn")


def _name(row: Mapping[str, Any], draw: int) -> str:
    return str(row["id"]) if draw == 0 else f"{row['id']}-{draw + 1}"


def _by_run(run: SynthesizerRun) -> Drawing:
    def draw(row: Mapping[str, Any], seeds: Sequence[int]) -> tuple[Image, list[np.ndarray]]:
        places, image, prepared = read_map(row, run.preprocessing, run.labels, run.background)
        shape, expected = places.shape[1:], run.synthesizer.shape_[1:]
        if shape != expected:
            raise UnreadableImage(f"{image.path}: has shape {shape} once prepared; expected {expected}")
        # One seed for all slices of a volume: a scan has one contrast.
        drawn = (run.draw(places, [seed] * len(places)) for seed in seeds)
        return image, [back_on_grid(each, image, prepared, run.preprocessing) for each in drawn]

    return draw


def _write_cohort(out: Path, found: pd.DataFrame, cohort: pd.DataFrame, run: str) -> Path:
    """`cohort.csv`: the drawn images as a table, with their label maps, whose they are and what drew them."""
    masks = dict(zip(cohort["path"], cohort["mask"], strict=True)) if "mask" in cohort else None
    rows = []
    rest: list[Any] = found.to_dict("records")
    for row in rest:
        for k, file in enumerate(row["file"].split(";")):
            told = {"id": _name(row, k), "path": file, "subject": row["subject"], "labels": row["path"]}
            told |= {"drawn_from": row["path"], "run": run}
            rows.append(told if masks is None else {**told, "mask": masks.get(row["path"], "")})
    path = out / "cohort.csv"
    write_whole(path, pd.DataFrame(rows).to_csv(index=False))
    return path
