"""One command for the sanity checks that suit an explainer, and what it writes down of them."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from anomaly.cohorts.cohort import read_cohort
from anomaly.cohorts.masks import Given, suited
from anomaly.errors import AnomalyError
from anomaly.files import write_whole
from anomaly.images.finding import Globs
from anomaly.shown import Readable, unread
from explain.checking.again import Again, images_of, refuse_method
from explain.checking.cascade import check_target
from explain.checking.findings import COLUMNS, Finding
from explain.checking.images import sampled
from explain.checking.permuted import check_labels
from explain.checking.pictures import draw
from explain.runs.source import open_source

COUNT = 32
"""Images that an attribution explains at every depth."""
VERDICTS = {True: "passed", False: "not passed", None: "cannot tell"}


@dataclass(frozen=True, repr=False)
class Checked(Readable):
    """What a call of `check` did.

    Args:
        path: the table, `check.csv`; beside it `check.json` and `check.png`.
        errors: the table of images that cannot be read, there if there are any.
        passed: whether the check was passed; None where it cannot tell.
        sentence: that, in plain words.
        unreadable: images that cannot be read.
    """

    path: Path
    errors: Path
    passed: bool | None
    sentence: str
    unreadable: int

    def _in_short(self) -> tuple[str, dict[str, object]]:
        return VERDICTS[self.passed], {
            "found": self.sentence.partition(": ")[2],
            "table": self.path,
            "picture": self.path.with_suffix(".png"),
            "unreadable": unread(self.unreadable, "images", self.errors),
        }


def check(
    source: Path | str,
    out: Path | str,
    *,
    target: Path | str | None = None,
    images: Path | str | pd.DataFrame | None = None,
    count: int | None = None,
    settings: Mapping[str, Any] | None = None,
    baseline: Path | str | None = None,
    controls: Path | str | None = None,
    limit: float = 0.10,
    permutations: int | None = None,
    steps: int | None = None,
    raw: bool = False,
    seed: int = 0,
    subject: str | None = None,
    subject_pattern: str | None = None,
    where: Mapping[str, str] | None = None,
    match: Globs = None,
    exclude: Globs = None,
    mask: Given = None,
    method: str | None = None,
    device: str = "auto",
    save_every: int = 500,
    workers: int | None = None,
) -> Checked:
    """Ask whether maps depend on what they are said to explain; this is `anomaly explain check`.

    What is checked depends on what explains:

    - an explainer trained on cases and controls alone is trained again on permuted labels: its map must vanish
      (`explain.checking.permuted`);
    - an attribution explains the target again while its layers are drawn anew one by one: maps must change
      (`explain.checking.cascade`).

    There is no such check of paired explainers: in a pair whose images change places, what is to be removed still
    stands in one of the two alone, so that permuting takes no meaning away. Nor is there of explainers trained
    against a target: what they draw is judged by an independent classifier (`map --judge`).

    There is no verdict where nothing can be told: trainings were shorter than the run's own, or real maps are next to
    nothing, of which nothing is trained.

    Writes `check.csv` (a row a permutation or depth), `check.json`, `check.png`, and a run folder for each training. A
    failed check is a finding and no error. A stopped call goes on where it was when it is called again.

    Args:
        source: run folder of an explainer, or name of an attribution, which needs `target`.
        out: the folder.
        target: run folder of what is explained.
        images: of an attribution: a folder or a table to explain. Of a run, whose images are known: the folder that
            holds them now, where they were moved.
        count: of an attribution: so many of the images are explained at every depth; 32 unless given. Of a run all
            held-out cases are.
        settings, baseline, controls: of an attribution; see `explain.runs.source.open_source`.
        limit: a map has vanished below this share of the real one.
        permutations: so many trainings on permuted labels; 1 unless given.
        steps: of these; as many as the explainer had unless given. Maps of a shorter training are other maps, so
            fewer steps get no verdict.
        raw: check the maps of a run as they are drawn, though it was calibrated.
        seed: of permutations and new weights.
        subject, subject_pattern, where, match, exclude, mask: see `read_cohort`.
        method: FILE.py:CLASS again, for a run of a user's own method.
        device: "auto", "cpu", "cuda", ...
        save_every: steps between two checkpoints of a training.
        workers: threads that read images.

    Raises:
        AnomalyError: settings out of range, an attribution without a target or images, or runs that do not go together.
        CohortError: images that are not there, or too few images or subjects.
        RunError: a run that cannot be used, or trainings in `out` that were begun with other settings.
    """
    out = Path(out)
    if not limit > 0 or (permutations is not None and permutations < 1) or (count is not None and count < 1):
        raise AnomalyError(f"limit is {limit}, permutations {permutations}, count {count}; expected numbers above 0")
    opened = open_source(
        source, settings=settings, target=target, baseline=baseline, controls=controls, method=method, device=device,
        raw=raw,
    )  # fmt: skip
    if opened.run is None:
        _refuse(str(source), permutations=permutations, steps=steps, raw=raw)
        if images is None:
            raise AnomalyError(f"{source} explains images; give --images, a folder or a table of some")
        table = read_cohort(
            images, subject=subject, subject_pattern=subject_pattern, where=where, match=match, exclude=exclude,
            mask=mask, missing="keep",
        )  # fmt: skip
        table = suited(table, mask, opened.preprocessing.mask, str(target))
        finding = check_target(opened, sampled(opened, table, count or COUNT, workers), seed=seed)
    else:
        whose = {"subject": subject, "subject_pattern": subject_pattern, "where": where}
        _refuse(str(source), **whose, match=match, exclude=exclude, mask=mask, count=count)
        if isinstance(images, pd.DataFrame):
            raise AnomalyError(f"{source} knows its images; give as images the folder that holds them now, or nothing")
        refuse_method(opened.run)
        if opened.calibration is not None and not opened.calibration.holds and not raw:
            raise AnomalyError(
                f"by its calibration nothing holds of the maps of {source}, so they are empty and there is nothing to "
                "check; --raw checks them as they are drawn"
            )
        again = Again(
            run=opened.run, out=out, method=method, steps=steps, device=device, save_every=save_every, workers=workers
        )
        table = images_of(opened.run, images)
        finding = check_labels(opened, again, table, permutations=permutations or 1, limit=limit, seed=seed)
    told = {"source": opened.identities, "settings": opened.explainer.settings(), "seed": seed, "limit": limit}
    told["calibration"] = asdict(opened.calibration) if opened.calibration and not raw else None
    return _written(out, f"{opened.title}: {finding.check}", finding, told | {"steps": steps})


def _refuse(source: str, **given: object) -> None:
    for name, value in given.items():
        if value:
            raise AnomalyError(f"{source} takes no {name} in a check; leave --{name.replace('_', '-')} out")


def _written(out: Path, title: str, finding: Finding, told: Mapping[str, Any]) -> Checked:
    out.mkdir(parents=True, exist_ok=True)
    rows = pd.DataFrame(finding.rows, columns=list(COLUMNS))
    full, steps = told["settings"].get("steps"), told["steps"]
    sentence = finding.sentence + (
        ""
        if finding.passed is None or steps in (None, full)
        else f" It was trained again for {steps} steps instead of {full}, so maps differ anyway."
    )
    write_whole(out / "check.csv", rows.to_csv(index=False))
    draw(finding.shown, out / "check.png", title=title, footer=sentence)
    errors = out / "errors.csv"
    errors.unlink(missing_ok=True)
    if finding.errors:
        write_whole(errors, pd.DataFrame(finding.errors).to_csv(index=False))
    facts = {**told, "check": finding.check, "passed": finding.passed, "sentence": sentence}
    write_whole(out / "check.json", json.dumps(facts, indent=1) + "\n")
    return Checked(out / "check.csv", errors, finding.passed, sentence, len(finding.errors))
