"""Score any number of images with one run or several: streaming, in the background, and only what is missing."""

import csv
import logging
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from anomaly.clusters.addresses import place
from anomaly.clusters.cluster import WAIT, Elsewhere
from anomaly.clusters.shards import of_shard, refuse_shard, sharded_by
from anomaly.cohorts.classes import Classes
from anomaly.cohorts.cohort import read_cohort, refuse_overlap
from anomaly.cohorts.grid import GRID
from anomaly.cohorts.masks import Given, suited
from anomaly.cohorts.tables import SCORES, GrowingTable
from anomaly.errors import AnomalyError, CohortError
from anomaly.images.dicom_maps import highdicom
from anomaly.images.dicom_sources import may_be_dicom
from anomaly.images.finding import Globs
from anomaly.images.intake import in_batches
from anomaly.runs.filling import fill
from anomaly.runs.likeness import in_words
from anomaly.runs.run import Run
from anomaly.scoring.ensemble import Ensemble
from anomaly.scoring.maps import FOLDER
from anomaly.scoring.rows import Asked, Scorer
from anomaly.scoring.unlike import UNLIKE, Stranger, begun_without
from anomaly.shown import Readable

logger = logging.getLogger(__name__)
BATCH = 32
HEATMAPS = ("auto", "nifti", "png", "dicom", "none")


@dataclass(frozen=True, repr=False)
class Scored(Readable):
    """What a call of `score` did.

    Args:
        path: the table of scores.
        errors: the table of the images that cannot be read, there if there are any.
        new: images scored now.
        before: images that were scored by an earlier call and are kept.
        failed: images that cannot be read.
        flagged: of those scored, now or before, the images whose p-value is at most `alpha`.
        unlike: of the same, how many are unlike what was learned, and most often by what; "" where none is.
        alpha: as given.
        heatmaps: their folder; None where none are drawn.
    """

    path: Path
    errors: Path
    new: int
    before: int
    failed: int
    flagged: int
    alpha: float
    heatmaps: Path | None
    unlike: str = ""

    def _in_short(self) -> tuple[str, dict[str, object]]:
        flagged = f"{self.flagged} of {self.new + self.before}, with a p of at most {self.alpha:g}"
        return f"{self.new} images new, {self.before} from before, {self.failed} unreadable", {
            "flagged": "; ".join(filter(None, [flagged, self.unlike])),
            "table": self.path,
            "heatmaps": self.heatmaps or "none",
            "errors": self.errors if self.failed else None,
        }


def score(
    runs: Sequence[Path | str | Run] | Path | str | Run,
    images: Path | str | pd.DataFrame | Sequence[Path | str],
    out: Path | str,
    *,
    alpha: float = 0.05,
    heatmaps: Sequence[str] = ("auto",),
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
    refuse_unlike: bool = False,
    method: str | None = None,
    device: str = "auto",
    batch: int = BATCH,
    workers: int | None = None,
) -> Scored:
    """Say of every image how far it departs from normal, and draw where; this is `anomaly score`.

    Memory does not grow with the number of images. A second call with the same arguments scores only what is
    missing; images that cannot be read are named in `errors.csv` and do not stop the others.

    Args:
        runs: folders made by `learn`, or opened runs; several are judged together as a calibrated ensemble.
        images: a folder, a table, or a list of files.
        out: gets `scores.csv`, `grid.csv` (means of each map over an 8 x 8 grid, and what the file was like),
            `errors.csv`, heatmaps and `score.json`.
        alpha: an image is flagged when its p-value is at most this.
        heatmaps: "nifti" (on the source grid), "png" (image beside overlay), "dicom" (beside the source's series, in
            its study), "none", or "auto": the first two for volumes, PNG for pictures.
        shard: (i, N) takes the images whose ids' hash falls to shard i of N (see `anomaly.clusters.shards`), so that
            new images leave the others where they are; shards may run at the same time into one folder, and their
            tables joined by `cat` in the order of their names are the whole.
        cluster: where a Dask cluster is whose workers score (see `anomaly.clusters.addresses.place`): the same bytes
            as in one process of as many threads. Runs, images and `out` have to lie where all workers see them.
        cluster_wait: seconds that its first worker may take to come, and the next one where all have gone.
        subject, subject_pattern, where, match, exclude, mask: see `read_cohort`. Masks are for runs that were trained
            with masks, which take nothing else.
        allow_overlap: score subjects the run was trained on as well; their scores are too low.
        refuse_unlike: name images that are unlike what was learned (see `unlike` in scores.csv) in `errors.csv`
            instead of scoring them; of normals that is one in twenty.
        method: FILE.py:CLASS again, for a user's own method.
        device: "auto", "cpu", "cuda", ...
        batch: images scored at once.
        workers: threads that read, and as many that write; None takes one a core.

    Raises:
        AnomalyError: settings out of range.
        ClusterError: a cluster that is not there, or whose workers have another version or see other disks.
        CohortError: no images, or subjects the run was trained on; or none is DICOM and heatmaps are to be.
        MissingPackage: heatmaps as DICOM without highdicom.
        RunError: a run that cannot be used, or an `out` that holds scores of other runs; or unlike images are to be
            refused by runs that did not learn what normals are like.
    """
    out = Path(out)
    _check(alpha, heatmaps, shard)
    where_to = None if cluster is None else place(cluster)
    given = [runs] if isinstance(runs, str | Path | Run) else list(runs)
    folders = [run.folder if isinstance(run, Run) else run for run in given]
    older = begun_without(out / f"{SCORES.stem}.csv")
    here = device if cluster is None else "cpu"  # the devices are where the workers are
    ensemble = Ensemble([Run.open(folder, device=here, method=method) for folder in folders], endless=older)
    stranger = Stranger(ensemble.runs, refuse_unlike)
    cohort = read_cohort(
        images, subject=subject, subject_pattern=subject_pattern, where=where, match=match, exclude=exclude,
        mask=mask, missing="keep",
    )  # fmt: skip
    if "dicom" in heatmaps:
        _refuse_others(cohort["path"])
    cohort = suited(cohort, mask, "given" if ensemble.masked else "none", str(folders[0]))
    if not allow_overlap:
        for run in ensemble.runs:
            refuse_overlap(run.normals["subject"], cohort, run.folder, run.normals["path"])
    for run in ensemble.runs:
        _warn_of_classes(run)
    people = ensemble.runs[0].calibration.people
    smallest = 1 / (people + 1)
    if smallest > alpha:
        logger.warning(
            "nothing can be flagged at alpha %g: %d normal subjects calibrated the run, so no p-value is below %.3f",
            alpha, people, smallest,
        )  # fmt: skip
    settings = {
        "runs": [os.path.relpath(folder, out) for folder in folders],
        "weights": ensemble.identities,
        "alpha": alpha,
        "heatmaps": list(heatmaps),
        "shards": shard[1],
        "sharded_by": sharded_by(shard),  # as in folders of versions that dealt by position, where there is one
        "allow_overlap": allow_overlap,
        "map_limits": ensemble.map_limits,
        **({"masks": cohort.attrs["masks_from"]} if ensemble.masked else {}),
        "refuse_unlike": refuse_unlike or None,  # as in folders of versions that knew no such thing
    }
    columns = [*ensemble.columns, *([] if older else UNLIKE)]
    table = GrowingTable(SCORES, out, settings=settings, columns=columns, shard=shard, beside=GRID)
    everyone: list[Any] = cohort.to_dict("records")
    rows = of_shard(everyone, shard)
    left = table.left(rows)
    asked = Asked(
        tuple(map(_whole, folders)), tuple(ensemble.identities), _whole(out), alpha, tuple(heatmaps), refuse_unlike,
        older, _whole(method) if method and ":" in method else method, device, workers,
    )  # fmt: skip
    scorer = Scorer(asked, ensemble, stranger, workers or os.cpu_count() or 1)
    by = None
    if where_to is not None and left:
        by = Elsewhere(where_to, (*folders, left[0]["path"], left[-1]["path"]), cluster_wait)
    before = len(rows) - len(left)
    fill(
        table, in_batches(left, ensemble.prepare, batch, of=rows, refused=table.refused), scorer.rows, asked,
        doing="scoring", total=len(rows), done=before, drawn=FOLDER, cluster=by,
    )  # fmt: skip
    drawn = out / FOLDER if (out / FOLDER).is_dir() else None
    flagged, unlike = _flagged(table, (table.name(row) for row in rows))
    told = in_words(unlike, before + table.added)
    return Scored(table.path, table.errors, table.added, before, table.failed, flagged, alpha, drawn, told)


def _whole(path: Path | str) -> str:
    """A path that means the same in a worker of a cluster."""
    return os.path.abspath(path)


def _flagged(table: GrowingTable, ids: Iterable[str]) -> tuple[int, Counter[str]]:
    """How many of these images are flagged, and how many unlike by what; row by row, since the table may be long."""
    asked, flagged, unlike = set(ids), 0, Counter[str]()
    with table.path.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream, table.columns):  # a header is no row that is flagged
            if row["id"] in asked:
                flagged += row["flagged"] == "1"
                unlike[row.get("unlike") or ""] += 1
    del unlike[""]
    return flagged, unlike


def _warn_of_classes(run: Run) -> None:
    """Say so where a value rests on features of a critic that was told classes: it may tell these for that alone."""
    told = Classes.of(run.facts)
    if told is not None and run.detector.values_know_classes:
        logger.warning(
            "%s learned the classes of %s apart, and its values rest on features of the critic that was told them; "
            "they say nothing fair of an outcome that is %s or goes with it. Train without --classes, or with --set "
            "value_from=image", run.folder, told.column, told.column,
        )  # fmt: skip


def _check(alpha: float, heatmaps: Sequence[str], shard: tuple[int, int]) -> None:
    if not 0 < alpha < 1:
        raise AnomalyError(f"alpha must lie between 0 and 1, got {alpha}")
    unknown = [kind for kind in heatmaps if kind not in HEATMAPS]
    if unknown or not heatmaps:
        raise AnomalyError(f"heatmaps are {', '.join(HEATMAPS)}; got {', '.join(unknown) or 'nothing'}")
    refuse_shard(shard)
    if "dicom" in heatmaps:
        highdicom()


def _refuse_others(paths: Iterable[str]) -> None:
    """Refuse images none of which is DICOM; where some are, the others are named in errors.csv as they come."""
    paths = list(paths)
    if not any(may_be_dicom(Path(path)) for path in paths):
        raise CohortError(
            f"--heatmaps dicom files maps beside DICOM series, and none of the {len(paths)} images is one ({paths[0]}, "
            "...); give DICOM, or take --heatmaps nifti or png"
        )
