"""A cohort laid on one template, and a template made of the cohort: the mean image in the mean shape."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from anomaly.cohorts.masks import Given
from anomaly.errors import AnomalyError, RunError
from anomaly.files import write_whole
from anomaly.images import write_volume
from anomaly.images.finding import Globs
from anomaly.registration.averaging import make_template
from anomaly.registration.jobs import cohort_with, jobs_of_template
from anomaly.registration.opening import Way
from anomaly.registration.registering import Registered, register_jobs

TEMPLATE = "template.nii.gz"
MADE = "template.csv"
"""Of which images it was made, and which took no part, with the reason."""
SAYS = "mean of a cohort by anomaly register template"


def register_template(
    images: Path | str | pd.DataFrame,
    out: Path | str,
    *,
    template: Path | str | None = None,
    rounds: int = 4,
    by: str = "demons",
    metric: str = "correlation",
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
    """Bring a cohort onto one template; this is `anomaly register template`.

    Without a template one is made: all images are moved onto one of them, averaged, and registered to their mean
    again and again; each time the mean of all displacements is taken out, so that the template has the mean shape of
    the cohort and not that of the image it began with. It is kept as `OUT/template.nii.gz`, and a second call goes on
    with it. An image that cannot be used for it takes no part, and `OUT/left_out.csv` says why.

    Args:
        images: a folder or a table.
        out: the folder.
        template: an image; None makes one.
        rounds: how often the mean is made anew.
        by, metric, start, maps, labels, seed, device, workers: see `register_visits`.
        subject, subject_pattern, where, match, exclude, mask: see `read_cohort`.

    Raises:
        CohortError: fewer than two images to make a template of.
        RunError: an `out` that holds images registered otherwise.
    """
    out, way = Path(out), Way(by=by, metric=metric, start=start, seed=seed, device=device)
    persons = {"subject": subject, "subject_pattern": subject_pattern, "where": where, "match": match,
               "exclude": exclude, "mask": mask}  # fmt: skip
    table, bare = cohort_with(images, maps, labels, persons)
    if rounds < 1:
        raise AnomalyError(f"rounds is {rounds}; expected 1 or more")
    facts: dict[str, Any]
    if template is not None:
        place = Path(template).resolve()
        facts = {"onto": str(place), "rounds": None}
        return register_jobs(jobs_of_template(table, place), out, way, facts, left_out=bare, workers=workers)
    place = _own(out)
    facts = {"onto": "the mean", "rounds": rounds, "mask": None if mask is None else str(mask)}

    def left_out() -> pd.DataFrame:
        return pd.concat([bare, _made(table, place, way, rounds, workers)])

    return register_jobs(jobs_of_template(table, place), out, way, facts, left_out=left_out, workers=workers)


def _own(out: Path) -> Path:
    """Where the template of a folder lies, or is to lie.

    Raises:
        RunError: there is one that was not made by this command.
    """
    place = (out / TEMPLATE).resolve()
    if place.exists() and not (out / MADE).exists():
        raise RunError(f"{place} was not made by this command; give it as --template, or choose another --out")
    return place


def _made(table: pd.DataFrame, place: Path, way: Way, rounds: int, workers: int | None) -> pd.DataFrame:
    """Make a template where it is not there yet; who takes no part in it, and why."""
    told = place.parent / MADE
    if not place.exists():
        of, still = make_template(table, way, rounds, workers=workers)
        write_whole(told, of.to_csv(index=False))  # before the image: without it nobody knows of whom that is
        write_volume(place, still.pixels[0], still.frame, says=SAYS)
    found = pd.read_csv(told, dtype=str, keep_default_na=False)
    return found[found["reason"] != ""]
