"""Explain any number of images with a trained explainer or an attribution: streaming, and only what is missing."""

import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from anomaly.clusters.addresses import LOCAL, place
from anomaly.clusters.beginning import share_of_cores
from anomaly.clusters.cluster import WAIT, Elsewhere
from anomaly.clusters.shards import of_shard, refuse_shard, sharded_by
from anomaly.cohorts.cohort import read_cohort, refuse_overlap
from anomaly.cohorts.masks import Given, suited
from anomaly.cohorts.reasons import reasons
from anomaly.cohorts.results import read_facts
from anomaly.cohorts.tables import Form, GrowingTable, write_errors
from anomaly.errors import AnomalyError, CohortError
from anomaly.images.finding import Globs
from anomaly.images.intake import Ready, in_batches, intake
from anomaly.pictures.scales import FINEST, next_to_nothing
from anomaly.runs.filling import fill
from anomaly.shown import Readable
from anomaly.training.machine import computing_with
from explain.pictures.pictures import limit_of
from explain.runs.explaining import asking, prepare, records
from explain.runs.given import files_trained_in
from explain.runs.mapping_rows import Asked, Explained, Mapper, explained, whole
from explain.runs.nothing import LARGEST, IfNothing
from explain.runs.records import ABOUT, FOLDER, OUTPUTS, wanted
from explain.runs.source import Source, open_source

BATCH = 32
PROBED = 8
"""Images whose maps set the end of the colours where no training has; bits hang on batches, so all have this size."""
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
    cluster: str | None = None,
    cluster_wait: float = WAIT,
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
        cluster, cluster_wait: a Dask cluster whose workers explain, as `anomaly.score` takes it: the same bytes as in
            one process of as many threads. Runs, images and `out` have to lie where all workers see them. The first
            images, where colours end by these, are explained by this process.
        subject, subject_pattern, where, match, exclude, mask: see `read_cohort`. Masks are for what was trained with
            masks; outside them nothing is changed or marked.
        allow_overlap: explain images of subjects the explainer was trained on as well.
        raw: of a run that was calibrated, maps as they are drawn, with what would be drawn if labels meant nothing.
        batch: images explained at once.
        workers: threads that read, and as many that write; None takes one a core.

    Raises:
        AnomalyError: settings out of range, or runs that do not go together.
        ClusterError: a cluster that is not there, or whose workers have another version or see other disks.
        CohortError: no images, or subjects the explainer was trained on.
        RunError: a run that cannot be used, or an `out` that holds explanations by others.
    """
    out = Path(out)
    unknown = [kind for kind in outputs if kind not in OUTPUTS]
    if unknown or not outputs:
        raise AnomalyError(f"outputs are {', '.join(OUTPUTS)}; got {', '.join(unknown) or 'nothing'}")
    refuse_shard(shard)
    where_to = None if cluster is None else place(cluster)
    opened = open_source(
        source, settings=settings, target=target, generator=generator, judge=judge, baseline=baseline,
        controls=controls, method=method, raw=raw,
        device=device if cluster is None else "cpu",  # the devices are where the workers are
    )  # fmt: skip
    cohort = read_cohort(
        images, subject=subject, subject_pattern=subject_pattern, where=where, match=match, exclude=exclude,
        mask=mask, missing="keep",
    )  # fmt: skip
    cohort = suited(cohort, mask, opened.preprocessing.mask, str(source))
    if not allow_overlap:
        refuse_known(opened, cohort)
    rows: list[Any] = cohort.to_dict("records")
    threads, told = workers or os.cpu_count() or 1, IfNothing.of(opened)
    share = share_of_cores(where_to.count) if where_to is not None and where_to.kind == LOCAL else None
    batch = batch if opened.run else min(batch, PROBED)
    with ThreadPoolExecutor(threads) as pool, nullcontext() if share is None else computing_with(share):
        columns, limit, seen = _probed(opened, rows, pool, out, batch, drawn="png" in wanted(outputs))
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
    asked = Asked(
        source=str(whole(source)), settings=settings, target=whole(target), generator=whole(generator),
        judge=whole(judge), baseline=whole(baseline), controls=whole(controls), method=whole(method), device=device,
        raw=raw, identities=opened.identities, out=os.path.abspath(out), outputs=tuple(outputs), limit=limit,
        workers=workers,
    )  # fmt: skip
    mapper = Mapper(asked, opened, threads)
    first, rest = _parted(left, seen if shard == (1, 1) else [])  # a shard has other batches than all rows have
    batches = in_batches(rest, partial(prepare, source=opened), batch, of=rows, refused=table.refused)
    by = None
    if where_to is not None and rest:
        by = Elsewhere(where_to, (*asked.needs, rest[0]["path"], rest[-1]["path"]), cluster_wait)
    fill(
        table, batches, mapper.rows, asked, doing="explaining", total=len(rows), done=before, drawn=FOLDER, cluster=by,
        first=(mapper.finish(*each) for each in first),
    )  # fmt: skip
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
    source: Source, rows: Sequence[Any], pool: ThreadPoolExecutor, out: Path, batch: int, *, drawn: bool
) -> tuple[list[str], float, list[Explained]]:
    """Further columns of the table, where the colours end, and what was read and explained to know.

    Colours end as in training or as before, else by the first images, whose explanations are kept. Where the end is
    known, one slice tells the columns.
    """
    trained = source.run.facts["held_out"] if source.run else read_facts(out / "explain.json")
    known, seen, bad = float(trained.get("limit") or 0.0), list[Explained](), list[Ready]()
    for ready in intake(rows, partial(prepare, source=source), pool, 1 if known else batch):
        fine = [one for one in ready if not one.error]
        if fine and known:
            one = fine[0].prepared[0]
            told = records(source, [replace(one, pixels=one.pixels[:1])])[0]
            return list(told.figures), max(known, 0.0 if told.change is None else FINEST), []
        bad += [one for one in ready if one.error]
        seen.append(explained(source, ready, drawn=drawn))
        if fine:
            found = seen[-1][1]
            finest = 0.0 if found[0].change is None else FINEST
            return list(found[0].figures), max(float(limit_of([each.map for each in found])), finest), seen
    write_errors(out, [{**one.about, "error": one.error} for one in bad])
    why = "; ".join(reasons((one.row["path"], one.error) for one in bad))
    raise CohortError(f"none of the {len(rows)} images can be read ({why}); see {out / 'errors.csv'}")


def _parted(rows: Sequence[Any], seen: list[Explained]) -> tuple[Iterator[Explained], list[Any]]:
    """Of rows what is explained already, given away as it is asked for, and those that are not."""
    missing = {row["path"] for row in rows}
    before = {one.row["path"] for ready, _ in seen for one in ready}

    def first() -> Iterator[Explained]:
        while seen:
            ready, found = seen.pop(0)
            left, told = [one for one in ready if one.row["path"] in missing], iter(found)
            pairs = [(one, None if one.error else next(told)) for one in ready]
            yield left, [record for one, record in pairs if record is not None and one.row["path"] in missing]

    return first(), [row for row in rows if row["path"] not in before]


def _named(out: Path, **runs: Path | str | None) -> dict[str, str]:
    """Run folders, from the folder of the table; names of attributions as they are."""
    given = {name: run for name, run in runs.items() if run is not None}
    return {name: os.path.relpath(run, out) if Path(run).is_dir() else str(run) for name, run in given.items()}
