"""Each follow-up laid on its baseline, the other side on a side, one file on another."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from anomaly.cohorts.masks import Given
from anomaly.errors import AnomalyError, CohortError, UnreadableImage
from anomaly.images import read
from anomaly.images.finding import Globs
from anomaly.registration.jobs import cohort_with, jobs_of_sides, jobs_of_visits
from anomaly.registration.opening import Way
from anomaly.registration.registering import Registered, register_jobs

SIDES = ("left", "right")


def register_visits(
    images: Path | str | pd.DataFrame,
    out: Path | str,
    *,
    visits: str = "visit",
    date: str | None = None,
    unit: str | None = None,
    order: Sequence[str] | None = None,
    which: str = "first",
    side: str | None = None,
    contrast: str | None = None,
    by: str = "demons",
    metric: str = "correlation",
    start: str = "rigid",
    maps: Given = None,
    labels: Given = None,
    subject: str | None = None,
    subject_pattern: str | None = None,
    where: Mapping[str, str] | None = None,
    match: Globs = None,
    exclude: Globs = None,
    mask: Given = None,
    seed: int = 0,
    device: str = "auto",
    workers: int | None = None,
) -> Registered:
    """Bring every follow-up onto its baseline; this is `anomaly register visits`.

    Writes `pairs.csv` (a row a pair: the registered follow-up as `path`, its baseline, the interval, and how well they
    lie on one another), `registered/`, `fields/`, `pictures/`, `errors.csv`, and in `left_out.csv` the images that
    stand in no pair, with the reason. A second call with the same arguments registers only what is missing.

    Args:
        images: a table with a column of visits.
        out: the folder.
        visits, date, unit, order, which, side, contrast: see `anomaly.cohorts.visits.visit_pairs`.
        by: "rigid", "affine", "demons", or the run folder of `anomaly register train`.
        metric: "correlation" within one contrast, "mutual-information" between contrasts.
        start: "rigid" or "affine", what a deformation begins with; within one person rigid, since the skull does not
            grow.
        maps, labels: maps (linear) and labels (nearest voxel) that are taken along: a folder, a pattern or a column.
        subject, subject_pattern, where, match, exclude, mask: see `read_cohort`; only what lies in masks pulls.
        seed: of the voxels that the start compares.
        device: where a run works.
        workers: pairs at once; None takes one a core.

    Raises:
        CohortError: nobody has two visits, or the table lacks what is asked.
        RunError: an `out` that holds pairs registered otherwise.
    """
    way = Way(by=by, metric=metric, start=start, seed=seed, device=device)
    persons = {"subject": subject, "subject_pattern": subject_pattern, "where": where, "match": match,
               "exclude": exclude, "mask": mask}  # fmt: skip
    table, bare = cohort_with(images, maps, labels, persons)
    timing = {"date": date, "unit": unit, "order": order, "which": which, "side": side, "contrast": contrast}
    facts = {"onto": "baseline", "visits": visits, "which": which, "date": date}
    jobs, single = jobs_of_visits(table, visits, timing)
    return register_jobs(jobs, Path(out), way, facts, left_out=pd.concat([single, bare]), workers=workers)


def register_sides(
    images: Path | str | pd.DataFrame,
    out: Path | str,
    *,
    side: str | None = None,
    visits: str | None = None,
    to: str = "right",
    by: str = "affine",
    metric: str = "mutual-information",
    start: str = "affine",
    maps: Given = None,
    labels: Given = None,
    subject: str | None = None,
    subject_pattern: str | None = None,
    where: Mapping[str, str] | None = None,
    match: Globs = None,
    exclude: Globs = None,
    mask: Given = None,
    seed: int = 0,
    device: str = "auto",
    workers: int | None = None,
) -> Registered:
    """Lay one side of each person, seen in a mirror, on the other of the same visit; `anomaly register sides`.

    The field of each pair takes a point of the one side to the point of the other side's own file, so the mirror is in
    it; how much folds is told without the mirror.

    Args:
        images: a table with a column of sides, left and right.
        out: the folder.
        side: the column; None takes side, laterality, eye, knee or hip.
        visits: the column of visits; None takes visit, where there is one.
        to: the side that stays where it is.
        by, metric, start, maps, labels, seed, device, workers: see `register_visits`.
        subject, subject_pattern, where, match, exclude, mask: see `read_cohort`.

    Raises:
        CohortError: nobody has both sides at one visit, the table lacks what is asked, or all images are flat.
        RunError: an `out` that holds pairs registered otherwise.
    """
    if to not in SIDES:
        raise AnomalyError(f"to is {to!r}; expected left or right")
    way = Way(by=by, metric=metric, start=start, seed=seed, device=device)
    persons = {"subject": subject, "subject_pattern": subject_pattern, "where": where, "match": match,
               "exclude": exclude, "mask": mask}  # fmt: skip
    table, bare = cohort_with(images, maps, labels, persons)
    jobs, single = jobs_of_sides(table, side, visits, to)
    _refuse_flat(jobs["moving"])
    return register_jobs(jobs, Path(out), way, {"onto": to}, left_out=pd.concat([single, bare]), workers=workers)


def _refuse_flat(paths: Iterable[str]) -> None:
    """Refuse a cohort without a volume, before anything is written.

    Raises:
        CohortError: whatever of it can be read is a picture or a slice.
    """
    flat = ""
    for path in paths:
        try:
            if read(Path(path)).ndim == 3:
                return
            flat = flat or path
        except UnreadableImage:
            continue
    if flat:
        raise CohortError(
            f"{flat} is a picture, which does not tell where left is; sides are laid on one another in volumes: of "
            "radiographs write copies that are turned round, and lay one on the other by anomaly register pair"
        )


def register_pair(
    moving: Path | str,
    fixed: Path | str,
    out: Path | str,
    *,
    by: str = "demons",
    metric: str = "correlation",
    start: str = "affine",
    moving_mask: Path | str | None = None,
    fixed_mask: Path | str | None = None,
    maps: Path | str | None = None,
    labels: Path | str | None = None,
    fixed_labels: Path | str | None = None,
    seed: int = 0,
    device: str = "auto",
) -> Registered:
    """Lay one image on another; this is `anomaly register pair`.

    Args:
        moving: what is moved.
        fixed: what it is laid on, and whose grid it gets.
        out: the folder.
        by, metric, start, seed, device: see `register_visits`.
        moving_mask, fixed_mask: what of them counts.
        maps, labels: of the moving image, taken along.
        fixed_labels: of the fixed image, to say how well labels fit.

    Raises:
        RunError: an `out` that holds pairs registered otherwise.
    """
    way = Way(by=by, metric=metric, start=start, seed=seed, device=device)
    table, _ = cohort_with(Path(moving), None, None, {"mask": "none"})
    beside = {"moving_mask": moving_mask, "fixed_mask": fixed_mask, "moving_map": maps, "moving_labels": labels,
              "fixed_labels": fixed_labels}  # fmt: skip
    given = {name: str(Path(path).resolve()) for name, path in beside.items() if path is not None}
    still = str(Path(fixed).resolve())
    jobs = table[["id", "subject"]].assign(moving=table["path"], fixed=still, baseline=still, mirror=False, **given)
    return register_jobs(jobs, Path(out), way, {"onto": "a file"}, workers=1)
