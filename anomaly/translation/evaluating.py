"""Say of a translator whether it worked: on heaps it was not trained on, floors and ceilings always beside."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from anomaly.cohorts.cohort import refuse_overlap
from anomaly.cohorts.masks import suited
from anomaly.errors import AnomalyError, CohortError
from anomaly.files import write_whole
from anomaly.runs.run import Run
from anomaly.shown import Readable
from anomaly.translation import checks
from anomaly.translation.cards import drawings_sheet
from anomaly.translation.figures import TRANSLATED, UNCHANGED, Figure, tabulated
from anomaly.translation.heaps import FROM, HEAP, TO, TRAIN, Heaps
from anomaly.translation.reading import Heap, read_heap
from anomaly.translation.run import TranslatorRun
from anomaly.translation.telling import sentences
from anomaly.translators.matching import MATCHINGS

logger = logging.getLogger(__name__)
TABLE, FACTS, IMAGES, SHEET, ERRORS = "translation.csv", "translation.json", "images.csv", "sheet.png", "errors.csv"


@dataclass(frozen=True, repr=False)
class Checked(Readable):
    """What the checks of a translator found.

    Args:
        path: the table of figures.
        figures: all of them.
        sentences: the same in plain words.
        errors: the table of images that cannot be used, there if there are any.
        unreadable: how many.
    """

    path: Path
    figures: tuple[Figure, ...]
    sentences: tuple[str, ...]
    errors: Path
    unreadable: int

    def _in_short(self) -> tuple[str, dict[str, object]]:
        return f"{len(self.figures)} figures of a translation", {
            **{str(k + 1): sentence for k, sentence in enumerate(self.sentences)},
            "table": self.path,
        }

    def figure(self, measure: str, of: str = TRANSLATED) -> Figure:
        """One figure by its measure and way of drawing.

        Raises:
            KeyError: there is none.
        """
        return {(each.measure, each.of): each for each in self.figures}[measure, of]


def evaluate_translation(
    run: Path | str,
    heaps: Heaps,
    out: Path | str,
    *,
    back: bool = False,
    structure: str | None = None,
    twin: str | None = None,
    segmenter: checks.Segmenter | None = None,
    detector: Path | str | None = None,
    judge: Mapping[str, Any] | None = None,
    allow_overlap: bool = False,
    seed: int = 0,
    device: str = "auto",
    workers: int | None = None,
) -> Checked:
    """Say whether a translation keeps structure, and whether a judge tells it from real; `anomaly translate evaluate`.

    Beside the translated images of "from" stand always the same unchanged, with mean and standard deviation matched,
    and with the histogram matched heap to heap, learned from the images that the run learned from. Writes
    `translation.csv`, `images.csv` (a row an image), `translation.json` and `sheet.png`.

    Args:
        run: what `learn_translation` left.
        heaps: test images of both heaps, of people who were not trained on.
        out: gets all that is written.
        back: check the other way: images of "to" drawn as of "from".
        structure: column of the table of what is translated, with files of segmentations of something that every image
            shows; what is not 0 counts.
        twin: its column with the files of the true translations: the same people on the other scanner.
        segmenter: images (n, C, *space) in [-1, 1] as prepared -> segmentations (n, *space), 0 outside; asked of drawn
            images, against `structure`.
        detector: run folder of a detector trained on normals of "to", prepared alike.
        judge: settings of the judge by name.
        allow_overlap: take subjects that the run, or the detector, was trained on as well.
        seed: of the judge and of halves.
        device: "auto", "cpu", "cuda", ...
        workers: threads that read; None takes one a core.

    Raises:
        AnomalyError: a segmenter without a structure, or a detector that prepares images otherwise.
        CohortError: no images, or subjects that the run was trained on, or the detector trained or calibrated on.
        RunError: a run that cannot be used.
    """
    out = Path(out)
    if segmenter is not None and structure is None:
        raise AnomalyError("a segmenter is held against true segmentations; give structure, the column of their files")
    opened = TranslatorRun.open(run, device=device)
    beside = None if detector is None else open_detector(opened, detector, device)
    source, target = _read(opened, beside, heaps, back, structure, twin, allow_overlap, workers)
    masked = opened.translator.masked_
    known, whence = _known(opened, source, target, back, workers)
    drawings = _drawings(opened, source.pixels, known, back)
    kept, of_images = checks.structure_kept(source, drawings, masked=masked)
    figures = [
        *kept,
        *checks.anatomy_kept(source, drawings, segmenter, masked=masked),
        *checks.true_to_twins(source, drawings, masked=masked),
        *checks.told_apart(source, target, drawings, judge or {}, seed=seed, device=device),
    ]
    try:
        figures += list(checks.distances(target, drawings, known[1], seed=seed))
    except AnomalyError as error:
        logger.warning("%s; distances are left out", error)
    if beside is not None:
        figures += checks.detected(beside, source, target, drawings)
    return _written(out, opened, figures, source, target, drawings, of_images, back, whence)


def open_detector(run: TranslatorRun, detector: Path | str, device: str = "cpu") -> Run:
    """A detector that takes images as the run prepares them.

    Raises:
        RunError: there is none.
        AnomalyError: it prepares them otherwise.
    """
    found = Run.open(detector, device=device).refuse_context()
    ours, theirs = run.facts["preprocessing"], found.facts["preprocessing"]
    differ = [f"{name} {theirs.get(name)}, expected {each}" for name, each in ours.items() if theirs.get(name) != each]
    if differ or found.detector.shape_ != run.translator.shape_:
        told = "; ".join(differ) or f"shape {found.detector.shape_}, expected {run.translator.shape_}"
        raise AnomalyError(f"{found.folder} was trained on images prepared otherwise ({told}); train one alike")
    return found


def _read(
    run: TranslatorRun,
    detector: Run | None,
    heaps: Heaps,
    back: bool,
    structure: str | None,
    twin: str | None,
    allow_overlap: bool,
    workers: int | None,
) -> tuple[Heap, Heap]:
    """The heap to be translated and the other, in memory."""
    table = heaps.read(beside=[name for name in (structure, twin) if name is not None])
    table = suited(table, heaps.mask, run.preprocessing.mask, str(run.folder))
    if not allow_overlap:
        refuse_overlap(run.trained(), table, run.folder)
        if detector is not None:
            refuse_overlap(detector.normals["subject"], table, detector.folder)
    names = (TO, FROM) if back else (FROM, TO)
    given = heaps.target if back else heaps.source
    base = Path() if isinstance(given, pd.DataFrame) else Path(given).resolve().parent
    parts = [table[table[HEAP] == name] for name in names]
    source = read_heap(run, parts[0], structure=structure, twin=twin, base=base, workers=workers)
    return source, read_heap(run, parts[1], workers=workers)


def _known(
    run: TranslatorRun, source: Heap, target: Heap, back: bool, workers: int | None
) -> tuple[tuple[np.ndarray, np.ndarray], str]:
    """Images of both heaps that floors are learned from, and in words which: those trained on, where they still are."""
    table = run.cohort
    there = np.array([Path(path).is_file() for path in table["path"]], dtype=bool)
    rows = table[there & (table["part"] == TRAIN)]
    names = (TO, FROM) if back else (FROM, TO)
    try:
        ours, theirs = (read_heap(run, rows[rows[HEAP] == name], workers=workers).pixels for name in names)
    except CohortError:
        logger.warning("the images that %s learned from are gone; floors are learned from those given", run.folder)
        return (source.pixels, target.pixels), "the images given themselves"
    return (ours, theirs), "the images that the run learned from"


def _drawings(
    run: TranslatorRun, images: np.ndarray, known: tuple[np.ndarray, np.ndarray], back: bool
) -> dict[str, np.ndarray]:
    """The images in every way they can be drawn, by its name: as they are, by the floors, by the translator."""
    masked = run.translator.masked_
    drawn = {name: learn(*known, masked=masked)(images, masked=masked) for name, learn in MATCHINGS.items()}
    translated = run.translator.translate(torch.from_numpy(images), back=back).numpy()
    return {UNCHANGED: images, **drawn, TRANSLATED: translated}


def _written(
    out: Path,
    run: TranslatorRun,
    figures: list[Figure],
    source: Heap,
    target: Heap,
    drawings: Mapping[str, np.ndarray],
    of_images: Mapping[str, np.ndarray],
    back: bool,
    whence: str,
) -> Checked:
    told = sentences(figures)
    write_whole(out / TABLE, tabulated(figures).to_csv(index=False))
    rows = pd.DataFrame({"id": source.ids, "subject": source.subjects, **of_images})
    write_whole(out / IMAGES, rows.to_csv(index=False))
    drawings_sheet({**drawings, "real": target.pixels}, out / SHEET, turned=len(set(source.ids)) < len(source.ids))
    facts = {
        "translator": run.identity, "back": back, "floors": f"learned from {whence}", "sentences": told,
        "images": {"translated": len(source.pixels), "real": len(target.pixels)},
    }  # fmt: skip
    write_whole(out / FACTS, json.dumps(facts, indent=1) + "\n")
    failed = [*source.unreadable, *target.unreadable]
    (out / ERRORS).unlink(missing_ok=True)
    if failed:
        write_whole(out / ERRORS, pd.DataFrame(failed).to_csv(index=False))
    return Checked(out / TABLE, tuple(figures), tuple(told), out / ERRORS, len(failed))
