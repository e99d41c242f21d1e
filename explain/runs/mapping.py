"""Explain any number of images with a trained explainer or an attribution: streaming, and only what is missing."""

import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from anomaly.clusters.shards import of_shard, refuse_shard, sharded_by
from anomaly.cohorts.cohort import read_cohort, refuse_overlap
from anomaly.cohorts.masks import Given, suited
from anomaly.cohorts.results import read_facts
from anomaly.cohorts.tables import Form, GrowingTable
from anomaly.errors import AnomalyError, CohortError, UnreadableImage
from anomaly.images.finding import Globs
from anomaly.images.image import alone
from anomaly.images.intake import AHEAD, Ready, intake
from anomaly.pictures.scales import FINEST, next_to_nothing
from anomaly.progress import progress
from anomaly.shown import Readable
from anomaly.streams import ordered
from anomaly.training.machine import one_core_left
from explain.pictures.pictures import limit_of
from explain.runs.explaining import asking, prepare, records
from explain.runs.given import files_trained_in
from explain.runs.nothing import LARGEST, IfNothing
from explain.runs.records import ABOUT, FOLDER, OUTPUTS, Record, wanted, write_record
from explain.runs.source import Source, open_source

BATCH = 32
PROBED = 8
"""Images whose maps set the end of the colours where no training has."""
Explained = tuple[list[Ready], list[Record]]
"""Images that were read, and the explanations of those that could be."""
EXPLANATIONS = Form("explanations", "explain.json", ABOUT, files="files")


@dataclass(frozen=True, repr=False)
class Mapped(Readable):
    """What a call of `map_images` did.

    Args:
        path: the table of explanations.
        errors: the table of images that cannot be read, there if there are any.
        new, before, failed: images explained now, by an earlier call, and that cannot be read.
        method: name of the explainer.
        maps: folder of the maps and figures; None where none are written.
        remark: that nothing changes in any image, or that the baseline of most is above the image, where that is so; of
            a run of cases and controls how much would be drawn if labels meant nothing.
    """

    path: Path
    errors: Path
    new: int
    before: int
    failed: int
    method: str
    maps: Path | None
    remark: str = ""

    def _in_short(self) -> tuple[str, dict[str, object]]:
        errors = self.errors if self.failed else None
        title = f"{self.new} images new, {self.before} from before, {self.failed} unreadable; by {self.method}"
        return title, {"table": self.path, "maps": self.maps or "none", "errors": errors, "remark": self.remark}


def map_images(
    source: Path | str,
    images: Path | str | pd.DataFrame,
    out: Path | str,
    *,
    settings: Mapping[str, Any] | None = None,
    target: Path | str | None = None,
    generator: Path | str | None = None,
    judge: Path | str | None = None,
    baseline: Path | str | None = None,
    controls: Path | str | None = None,
    outputs: Sequence[str] = ("auto",),
    shard: tuple[int, int] = (1, 1),
    subject: str | None = None,
    subject_pattern: str | None = None,
    where: Mapping[str, str] | None = None,
    match: Globs = None,
    exclude: Globs = None,
    mask: Given = None,
    allow_overlap: bool = False,
    raw: bool = False,
    method: str | None = None,
    device: str = "auto",
    batch: int = BATCH,
    workers: int | None = None,
) -> Mapped:
    """Draw of every image what speaks for disease, and how it would look without; this is `anomaly explain map`.

    Writes `explanations.csv`: id, subject, path, files; of counterfactuals `change` (mean |image - counterfactual|, of
    a range of 2), `largest_change` (of any value, on that range), `unchanged` (share of pixels changed by at most 0.05
    on that range); of a run that was calibrated `change_as_drawn`, `change_if_nothing`, `share_if_nothing` (see
    `explain.runs.nothing`); with a target `target_before`, `target_after`, `target_flipped`; with a judge the same of
    it; and what the method says beside.
    Memory does not grow with the number of images; a second call with the same arguments explains only what is missing.

    Args:
        source: the run folder of an explainer, or the name of an attribution.
        images: a folder or a table.
        out: gets `explanations.csv`, `errors.csv`, `explain.json` and `maps/`; see `explain.runs.records`.
        settings, target, generator, judge, baseline, controls, method, device: see `explain.runs.source.open_source`.
        outputs: "nifti", "png", "none", or "auto": both.
        shard: (i, N) takes the images whose ids' hash falls to shard i of N, as `anomaly.score` does; tables of all
            shards joined by `cat` in the order of their names are the whole.
        subject, subject_pattern, where, match, exclude, mask: see `read_cohort`. Masks are for what was trained with
            masks; outside them nothing is changed or marked.
        allow_overlap: explain images of subjects the explainer was trained on as well.
        raw: of a run that was calibrated, maps as they are drawn, with what would be drawn if labels meant nothing.
        batch: images explained at once.
        workers: threads that read, and as many that write; None takes one a core.

    Raises:
        AnomalyError: settings out of range, or runs that do not go together.
        CohortError: no images, or subjects the explainer was trained on.
        RunError: a run that cannot be used, or an `out` that holds explanations by others.
    """
    out = Path(out)
    unknown = [kind for kind in outputs if kind not in OUTPUTS]
    if unknown or not outputs:
        raise AnomalyError(f"outputs are {', '.join(OUTPUTS)}; got {', '.join(unknown) or 'nothing'}")
    refuse_shard(shard)
    opened = open_source(
        source, settings=settings, target=target, generator=generator, judge=judge, baseline=baseline,
        controls=controls, method=method, device=device, raw=raw,
    )  # fmt: skip
    cohort = read_cohort(
        images, subject=subject, subject_pattern=subject_pattern, where=where, match=match, exclude=exclude,
        mask=mask, missing="keep",
    )  # fmt: skip
    cohort = suited(cohort, mask, opened.preprocessing.mask, str(source))
    if not allow_overlap:
        refuse_known(opened, cohort)
    rows: list[Any] = cohort.to_dict("records")
    workers, told = workers or os.cpu_count() or 1, IfNothing.of(opened)
    with ThreadPoolExecutor(workers) as pool:
        pictures = "png" in wanted(outputs)
        columns, limit, seen = _probed(opened, rows, pool, out, drawn=pictures)
        facts = {
            "source": opened.identities,
            "settings": opened.explainer.settings(),
            "outputs": list(outputs),
            "sharded": [shard[1], sharded_by(shard)] if shard[1] > 1 else None,  # none in folders of older versions
            "limit": limit,
            "thresholds": {name: run.threshold for name, run in asking(opened)},
            "calibration": told.facts and json.loads(json.dumps(told.facts)),
            "if_nothing": told.remark,
            "controls": controls and str(Path(controls).resolve()),
            "runs": _named(out, source=source, target=target, generator=generator, judge=judge, baseline=baseline),
        }
        table = GrowingTable(EXPLANATIONS, out, settings=facts, columns=columns, shard=shard)
        rows = of_shard(rows, shard)  # colours end where the first images of all say, whatever the shard
        left = table.left(rows)
        before = len(rows) - len(left)
        writing = partial(_finish, folder=out, outputs=outputs, limit=limit, nothing=told, by=opened.title)
        work = _explained(opened, left, pool, batch, seen, drawn=pictures)
        with table, one_core_left(), progress("explaining", len(rows), done=before, unit="images") as bar:
            for finished in ordered(pool, lambda done: writing(*done), work, ahead=AHEAD):
                table.add(finished)
                bar.advance(len(finished))
    drawn = out / FOLDER if (out / FOLDER).is_dir() else None
    remark = " ".join(filter(None, ("" if told.empty else _remark(table), told.remark)))
    return Mapped(table.path, table.errors, table.added, before, table.failed, opened.explainer.name, drawn, remark)


def _remark(table: GrowingTable) -> str:
    """That nothing changes in any image of a table of explanations, or most begin above themselves; or nothing."""
    with table.path.open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream, table.columns) if row["path"] != "path"]  # shards have no header
    found = [float(row[LARGEST]) for row in rows if row.get(LARGEST)]
    above = sum(float(row["baseline"]) > float(row["target"]) for row in rows if row.get("baseline"))
    if 2 * above > len(rows):
        return (
            f"The baseline is above the image in {above} of {len(rows)}, by the target (`baseline` and `target` in "
            f"{table.path.name}): maps of these say what the image lacks; take another baseline."
        )
    where = f" in {len(found)} images" if len(found) > 1 else ""
    return next_to_nothing(max(found, default=float("nan")), where)


def refuse_known(source: Source, cohort: pd.DataFrame) -> None:
    """Refuse subjects and files that a run which takes part was trained on; those held out then may be explained.

    Raises:
        CohortError: there are some.
    """
    for run in (source.run, source.target, source.generator, source.judge, source.baseline):
        if run is not None:
            refuse_overlap(run.trained, cohort, run.folder, files_trained_in(run.folder))


def _probed(
    source: Source, rows: Sequence[Any], pool: ThreadPoolExecutor, out: Path, *, drawn: bool
) -> tuple[list[str], float, list[Explained]]:
    """Further columns of the table, where the colours end, and what was read and explained to know.

    Colours end as in training or as before, else by the first images, whose explanations are kept. Where the end is
    known, one slice tells the columns.
    """
    trained = source.run.facts["held_out"] if source.run else read_facts(out / "explain.json")
    known, seen = float(trained.get("limit") or 0.0), list[Explained]()
    for ready in intake(rows, partial(prepare, source=source), pool, 1 if known else PROBED):
        fine = [one for one in ready if not one.error]
        if fine and known:
            one = fine[0].prepared[0]
            told = records(source, [replace(one, pixels=one.pixels[:1])])[0]
            return list(told.figures), max(known, 0.0 if told.change is None else FINEST), []
        seen.append(_of(source, ready, drawn=drawn))
        if fine:
            found = seen[-1][1]
            finest = 0.0 if found[0].change is None else FINEST
            return list(found[0].figures), max(float(limit_of([each.map for each in found])), finest), seen
    raise CohortError(f"none of the {len(rows)} images can be read; the first: {ready[0].error}")


def _explained(
    source: Source, rows: Sequence[Any], pool: ThreadPoolExecutor, batch: int, seen: list[Explained], *, drawn: bool
) -> Iterator[Explained]:
    """Explanations of rows, of which the first may have been made already; these are given away."""
    missing, before = {row["path"] for row in rows}, set[Any]()
    while seen:
        ready, found = seen.pop(0)
        before |= {one.row["path"] for one in ready}
        left, told = [one for one in ready if one.row["path"] in missing], iter(found)
        pairs = [(one, None if one.error else next(told)) for one in ready]
        yield left, [record for one, record in pairs if record is not None and one.row["path"] in missing]
    rest = [row for row in rows if row["path"] not in before]
    for ready in intake(rest, partial(prepare, source=source), pool, batch):
        yield _of(source, ready, drawn=drawn)


def _of(source: Source, ready: list[Ready], *, drawn: bool) -> Explained:
    """What was read, and the explanations of what could be; walks are kept where they are drawn."""
    fine = [one.prepared[0] for one in ready if not one.error]
    images = [one.image for one in ready if one.image is not None] if drawn else None
    return ready, records(source, fine, images) if fine else []


def _finish(
    ready: Sequence[Ready],
    found: Sequence[Record],
    *,
    folder: Path,
    outputs: Sequence[str],
    limit: float,
    nothing: IfNothing,
    by: str,
) -> list[dict[str, Any]]:
    """Write the files of a batch, then give its rows: a row never names a file that is not there."""
    told = iter(found)
    rows: list[dict[str, Any]] = []
    for one in ready:
        if one.image is None:
            rows.append({**one.about, "error": one.error})
            continue
        record = next(told)
        row = {**one.about, **record.figures}
        draw = partial(
            write_record, folder, row, one.image, one.prepared[0], record, outputs=outputs, limit=limit,
            by=by, remark=nothing.told_of(record.figures),
        )  # fmt: skip
        try:
            rows.append({**row, "files": ";".join(alone(one.image.path, draw, "drawn"))})
        except UnreadableImage as error:
            rows.append({**one.about, "error": str(error)})
    return rows


def _named(out: Path, **runs: Path | str | None) -> dict[str, str]:
    """Run folders, from the folder of the table; names of attributions as they are."""
    given = {name: run for name, run in runs.items() if run is not None}
    return {name: os.path.relpath(run, out) if Path(run).is_dir() else str(run) for name, run in given.items()}
