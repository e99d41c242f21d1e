"""Say of persons that a painter has not seen how well it paints, beside floors; this is `anomaly paint evaluate`."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from anomaly.cohorts.cohort import refuse_overlap
from anomaly.cohorts.labels import base_of
from anomaly.cohorts.results import some
from anomaly.errors import AnomalyError, CohortError
from anomaly.files import write_whole
from anomaly.images.finding import Globs
from anomaly.images.labels import Labels
from anomaly.shown import Readable
from anomaly.translation.figures import Figure, tabulated
from explain.painting import judging
from explain.painting.cohort import Lesions, lesion_cohort, names_of, refuse_unknown
from explain.painting.helping import helped
from explain.painting.keeping import Kept, keep
from explain.painting.run import PainterRun
from explain.painting.telling import sentences
from explain.painting.whole import Ill, outside_kept, true_to_twins

logger = logging.getLogger(__name__)
MOST = 1000
"""Images that are looked at, chosen by chance but always the same; how many were is told."""
TABLE = "painting.csv"


@dataclass(frozen=True, repr=False)
class PainterJudged(Readable):
    """What an evaluation of a painter found.

    Args:
        path: the table of figures.
        errors: the table of images that cannot be used, there if there are any.
        unreadable: how many.
        figures: all of them.
        sentences: what they say.
    """

    path: Path
    errors: Path
    unreadable: int
    figures: list[Figure]
    sentences: list[str]

    def _in_short(self) -> tuple[str, dict[str, object]]:
        return self.sentences[0], {"table": self.path, "figures": len(self.figures), "errors": self.unreadable or None}


def evaluate_painter(
    run: Path | str,
    images: Path | str | pd.DataFrame,
    lesions: str,
    out: Path | str,
    *,
    column: str | None = None,
    classes: Labels | None = None,
    tissues: str | None = None,
    twin: str | None = None,
    segment: bool = True,
    judge_steps: int = 400,
    segment_steps: int = 400,
    subject: str | None = None,
    subject_pattern: str | None = None,
    where: Mapping[str, str] | None = None,
    match: Globs = None,
    exclude: Globs = None,
    allow_overlap: bool = False,
    seed: int = 0,
    device: str = "auto",
    workers: int | None = None,
) -> PainterJudged:
    """Judge a painter by images of persons that it has not seen, with lesions and without.

    Persons are halved: a classifier learns from one half what the classes look like, and is asked about the other half,
    in which lesions are painted in and out. Whom the painter was trained on is in the other half always. Beside it real
    lesions, a real lesion laid over, fillings that need no learning, and chance. Of more than 1,000 images as many are
    looked at, chosen by chance. Writes `painting.csv`, `painting.json` and `preview.png`.

    Args:
        run: what `learn_painter` left.
        images: a folder or a table, with lesions and without.
        lesions: column of the masks, or a folder of these.
        out: gets all that is written.
        column, classes: what says of which class lesions are; else as the run was told.
        tissues: column of label maps of tissues, or a folder, for a run that learned with such.
        twin: column of the same images without lesions.
        segment: whether to train segmenters with painted lesions and without.
        judge_steps, segment_steps: of these trainings.
        subject, subject_pattern, where, match, exclude: see `read_cohort`.
        allow_overlap: take images of subjects the run was trained on as well.
        seed: of paintings, of the halves and of trainings.
        device: "auto", "cpu", "cuda", ...
        workers: threads that read images.

    Raises:
        AnomalyError: classes that the run does not know.
        CohortError: subjects the run was trained on, or too few of a class.
        RunError: a run that cannot be used.
    """
    out, painter = Path(out), PainterRun.open(run, device=device)
    asked = _asked(painter, lesions, column, classes, tissues)
    cohort = lesion_cohort(
        images, asked, subject=subject, subject_pattern=subject_pattern, where=where, match=match, exclude=exclude
    )  # fmt: skip
    refuse_unknown(names_of(cohort, asked), painter.names, painter.folder)
    if not allow_overlap:
        refuse_overlap(painter.trained, cohort, painter.folder)
    if twin is not None and twin not in cohort:
        raise CohortError(f"the table has no column {twin!r} of twins; its columns are {some(cohort.columns, 20)}")
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out, ignore_cleanup_errors=True) as folder:
        kept = _read(painter, asked, cohort, Path(folder), workers)
        kept.table["split"] = halves(kept, seed, painter.trained)
        windows = judging.windows_asked(painter, kept, seed)
        judge = judging.trained_judge(painter, kept, judge_steps, seed, device)
        figures = judging.agreement(painter, judge, windows, seed) + judging.known_tissue(painter, windows, seed)
        ill = Ill(painter, asked, kept.table)
        figures += outside_kept(painter, ill, seed)
        if twin is not None:
            figures += true_to_twins(painter, ill, twin, base_of(images), seed)
        if segment:
            figures += _helped(painter, kept, segment_steps, seed, device)
        judging.preview(painter, windows, out / "preview.png", seed, turned=kept.sliced)
    told = sentences(figures, painter.names)
    counts = {"images": len(kept.table), "unreadable": kept.unreadable, "given": len(cohort)}
    if len(cohort) > MOST:
        told.append(f"Of {len(cohort)} images {MOST} were looked at, chosen by chance but always the same.")
    write_whole(out / TABLE, tabulated(figures).to_csv(index=False))
    facts = {"run": painter.identity, "seed": seed, **counts, "sentences": told}
    write_whole(out / "painting.json", json.dumps(facts, indent=1))
    return PainterJudged(out / TABLE, out / "errors.csv", kept.unreadable, figures, told)


def halves(kept: Kept, seed: int, trained: frozenset[str] = frozenset()) -> np.ndarray:
    """Who the judge learns from and who is asked about, by person; persons of each class are halved alike.

    The judge never learns from persons that the painter was trained on: where they were allowed they are asked about.
    """
    table = kept.table
    kinds: dict[str, int] = {}
    for row, s in kept.items():
        subject = str(table["subject"].iloc[row])
        kinds[subject] = max(kinds.get(subject, 0), int(kept.arrays_of(row)[1][s].max()))
    part: dict[str, str] = {}
    rng = np.random.default_rng(seed)
    for kind in sorted({*kinds.values()}):
        people = rng.permutation(sorted(name for name, each in kinds.items() if each == kind and name not in trained))
        part |= {str(name): (judging.JUDGE, judging.ASKED)[k % 2] for k, name in enumerate(people)}
    return np.array([part.get(str(name), judging.ASKED) for name in table["subject"]])


def _asked(run: PainterRun, lesions: str, column: str | None, classes: Labels | None, tissues: str | None) -> Lesions:
    told = run.facts["lesions"]
    if column is None and classes is None:
        column, classes = told["column"], run.classes
    if (run.tissues is None) != (tissues is None):
        raise CohortError(
            f"{run.folder} was trained {'without tissues; leave' if run.tissues is None else 'with tissues; give'} "
            f"--labels{' out' if run.tissues is None else ''}"
        )
    return Lesions(given=lesions, column=column, classes=classes, tissues=tissues, of_tissues=run.tissues)


def _read(run: PainterRun, asked: Lesions, cohort: pd.DataFrame, folder: Path, workers: int | None) -> Kept:
    """The images that are looked at, on disk; those that cannot be used go to `errors.csv`."""
    chosen = np.sort(np.random.default_rng(0).permutation(len(cohort))[:MOST])
    rows = cohort.iloc[chosen].assign(split="")
    keep(
        rows, run.preprocessing, run.names, asked.classes, run.tissues, folder, window=run.window, workers=workers
    )  # fmt: skip
    return Kept.open(folder)


def _helped(run: PainterRun, kept: Kept, steps: int, seed: int, device: str) -> list[Figure]:
    try:
        return helped(run, kept, steps, seed, device)
    except AnomalyError as error:
        logger.warning("whether painted lesions help cannot be said: %s", error)
        return [Figure("dice_gained", "with painted", float("nan"), note=str(error))]
