"""Draw images of any number of label maps: streaming, and only what is missing."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.cohorts.masks import Given, suited
from anomaly.cohorts.results import some
from anomaly.cohorts.tables import Form, GrowingTable
from anomaly.errors import AnomalyError, CohortError, UnreadableImage
from anomaly.files import write_whole
from anomaly.images import Image
from anomaly.images.finding import Globs
from anomaly.images.image import alone
from anomaly.progress import progress
from anomaly.shown import Readable
from anomaly.streams import ordered
from anomaly.synthesis.listing import contents_of, drawn_name, read_maps, refuse_alike, seed_of, seeds_of
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
    drawn image: path, labels, subject, drawn_from, run. A second call with the same arguments draws what is missing,
    and anew what was drawn of a label map that was edited since. The slices of a volume have one style, and each its
    own grain.

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
    refuse_alike(list(cohort["id"]), draws)
    rows: list[Any] = cohort.to_dict("records")
    rows = [{**row, "contents": contents_of(row)} for row in rows]
    if changed := _forget_changed(out, rows):
        anew = "%d label maps were edited since they were drawn, and are drawn anew (%s)"
        logger.warning(anew, len(changed), some(changed))
    columns = ["values", "contents"]
    table = GrowingTable(SYNTHESES, out, settings={**told, "draws": draws, "seed": seed}, columns=columns)
    left = table.left(rows)
    before = len(rows) - len(left)

    def one(row: Mapping[str, Any]) -> dict[str, Any]:
        about = {name: row[name] for name in ("id", "subject", "path", "contents") if name in row}
        try:
            image, drawn = drawing(row, [seed_of(seed, str(row["id"]), k) for k in range(draws)])
            files = [_kept(out, drawn_name(row["id"], k), image, each, says) for k, each in enumerate(drawn)]
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


def _forget_changed(out: Path, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Take away what was drawn of label maps that were edited since, so that it is drawn anew; their ids."""
    table = out / f"{SYNTHESES.stem}.csv"
    if not table.is_file():
        return []
    try:
        before = {row["path"]: row for row in pd.read_csv(table, dtype=str, keep_default_na=False).to_dict("records")}
    except ValueError:
        return []  # which is told where the table is gone on with
    changed = [row for row in rows if before.get(row["path"], row).get("contents", "") != row["contents"]]
    for row in changed:
        for name in before[row["path"]]["file"].split(";"):
            (out / name).unlink(missing_ok=True)
    return [str(row["id"]) for row in changed]


def _by_run(run: SynthesizerRun) -> Drawing:
    def draw(row: Mapping[str, Any], seeds: Sequence[int]) -> tuple[Image, list[np.ndarray]]:
        places, image, prepared = read_map(row, run.preprocessing, run.labels, run.background)
        shape, expected = places.shape[1:], run.synthesizer.shape_[1:]
        if shape != expected:
            raise UnreadableImage(f"{image.path}: has shape {shape} once prepared; expected {expected}")
        count = len(places)
        drawn = (run.draw(places, seeds_of(seed, count), [seed] * count) for seed in seeds)
        return image, [back_on_grid(each, image, prepared, run.preprocessing) for each in drawn]

    return draw


def _write_cohort(out: Path, found: pd.DataFrame, cohort: pd.DataFrame, run: str) -> Path:
    """`cohort.csv`: the drawn images as a table, with their label maps, whose they are and what drew them."""
    masks = dict(zip(cohort["path"], cohort["mask"], strict=True)) if "mask" in cohort else None
    rows = []
    rest: list[Any] = found.to_dict("records")
    for row in rest:
        for k, file in enumerate(row["file"].split(";")):
            told = {"id": drawn_name(row["id"], k), "path": file, "subject": row["subject"], "labels": row["path"]}
            told |= {"drawn_from": row["path"], "run": run}
            rows.append(told if masks is None else {**told, "mask": masks.get(row["path"], "")})
    path = out / "cohort.csv"
    write_whole(path, pd.DataFrame(rows).to_csv(index=False))
    return path
