"""Say of a synthesizer what its drawings are worth: on persons it was not trained on, floors always beside."""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from anomaly.cohorts.cohort import refuse_overlap
from anomaly.cohorts.masks import suited
from anomaly.detectors import PCA
from anomaly.errors import AnomalyError, CohortError
from anomaly.files import write_whole
from anomaly.generation.synthesis import FEW, likenesses, novelty
from anomaly.nets.losses import dissimilarity
from anomaly.painters.mapped import NOWHERE
from anomaly.shown import Readable
from anomaly.synthesis import judging
from anomaly.synthesis.floors import class_means, nearest
from anomaly.synthesis.holding import Held, read_held
from anomaly.synthesis.listing import seed_of, seeds_of
from anomaly.synthesis.mapped import TRAIN, Mapped
from anomaly.synthesis.run import SynthesizerRun
from anomaly.synthesis.shown import write_sheet
from anomaly.synthesis.telling import AGAIN, DRAWN, MEANS, NEAREST, ON_DRAWN, REAL, sentences
from anomaly.training.batches import chunks, evenly
from anomaly.translation.figures import Figure, mean_of_subjects, tabulated

logger = logging.getLogger(__name__)
TABLE, FACTS, IMAGES, SHEET, ERRORS = "synthesis.csv", "synthesis.json", "images.csv", "sheet.png", "errors.csv"
COMPONENTS, NARROW, SHOWN = 64, 1.5, 8


@dataclass(frozen=True, repr=False)
class Checked(Readable):
    """What the checks of a synthesizer found.

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
        told: dict[str, object] = {str(k + 1): sentence for k, sentence in enumerate(self.sentences)}
        return f"{len(self.figures)} figures of a synthesis", {**told, "table": self.path}

    def figure(self, measure: str, of: str = DRAWN) -> Figure:
        """One figure by its measure and way of drawing.

        Raises:
            KeyError: there is none.
        """
        return {(each.measure, each.of): each for each in self.figures}[measure, of]


def evaluate_synthesis(
    run: Path | str,
    mapped: Mapped,
    out: Path | str,
    *,
    segmenter: Path | str | None = None,
    settings: Mapping[str, Any] | None = None,
    allow_overlap: bool = False,
    seed: int = 0,
    device: str = "auto",
    workers: int | None = None,
) -> Checked:
    """Say what images drawn of label maps are worth; this is `anomaly synthesize evaluate`.

    Beside what was drawn stand the means of classes, and the training image of another person whose map agrees most,
    while the images that the run learned from are where they were. What is drawn is the first draw of `synthesize` with
    the same seed. Asked are:
    whether a segmenter that learned from real images finds in drawn ones what the map says (Dice), as in real ones of
    the same people; whether one that learned from drawn images does in real ones; the distance from the real image of
    the same map (mean absolute difference, SSIM); Frechet distance, KID and MMD; copies. Writes `synthesis.csv`,
    `images.csv`, `synthesis.json` and `sheet.png`.

    Args:
        run: what `learn_synthesis` left.
        mapped: test images with label maps, of people who were not trained on.
        out: gets all that is written.
        segmenter: run of a segmenter of the same classes, trained on real images; "none" asks none; left out, a small
            one learns from half of the people given and is asked of the other half.
        settings: of that small one, by name.
        allow_overlap: take subjects that the run was trained on as well.
        seed: of drawings, halves and the small segmenter.
        device: "auto", "cpu", "cuda", ...
        workers: threads that read; None takes one a core.

    Raises:
        AnomalyError: a segmenter of other classes, or that prepares images otherwise.
        CohortError: no images, or subjects that the run or the segmenter was trained on.
        RunError: a run that cannot be used.
    """
    out, opened = Path(out), SynthesizerRun.open(run, device=device)
    cohort = suited(mapped.read(), mapped.mask, opened.preprocessing.mask, str(run))
    if not allow_overlap:
        refuse_overlap(opened.trained, cohort, opened.folder)
    find = None
    if segmenter is not None and str(segmenter) != "none":
        find = judging.open_segmenter(segmenter, opened, cohort, device, allow_overlap=allow_overlap)
    held = read_held(opened, cohort, workers=workers)
    known = _known(opened, workers)
    drawings = {name: _drawn(opened, held, seed, draw) for draw, name in enumerate((DRAWN, AGAIN))}
    if known is not None:
        own = held.subjects[:, None] == known.subjects
        drawings |= {
            MEANS: class_means(known.pixels, known.places, held.places, opened.labels.count),
            NEAREST: nearest(known.pixels, known.places, held.places, own),
        }
    figures, of_images = _near(held, drawings)
    figures += _between(held, drawings)
    if str(segmenter) != "none":
        figures += _segmented(opened, held, drawings, find, settings or {}, seed, device)
    figures += _likeness(held, known, drawings, seed)
    return _written(out, opened, figures, held, drawings, of_images, known is not None)


def _drawn(run: SynthesizerRun, held: Held, seed: int, draw: int) -> np.ndarray:
    """Images of all maps, the slices of a volume with one style and each its grain, as `synthesize` draws them."""
    styles = [seed_of(seed, str(name), draw) for name in held.ids]
    starts = np.flatnonzero(np.r_[True, held.ids[1:] != held.ids[:-1]])
    counts = np.diff(np.r_[starts, len(held.ids)])
    grains = [each for start, count in zip(starts, counts, strict=True) for each in seeds_of(styles[start], int(count))]
    return run.draw(held.places, grains, styles)


def _known(run: SynthesizerRun, workers: int | None) -> Held | None:
    """Images that floors are learned from: those trained on, where they still are; None where they are gone."""
    table = run.cohort
    there = [Path(a).is_file() and Path(b).is_file() for a, b in zip(table["path"], table["labels"], strict=True)]
    rows = table[np.array(there, dtype=bool) & (table["split"] == TRAIN)]
    try:
        if len(rows):
            return read_held(run, rows, workers=workers)
    except CohortError:
        pass  # which is told as that they are gone
    logger.warning("the images that %s learned from are gone: class means and nearest images are left out", run.folder)
    return None


def _near(held: Held, drawings: Mapping[str, np.ndarray]) -> tuple[list[Figure], dict[str, np.ndarray]]:
    """Mean |drawn - real| and SSIM with the real image of the same map, within masks."""
    inside = held.places != NOWHERE
    found, of_images = list[Figure](), dict[str, np.ndarray]()
    for name, images in drawings.items():
        if name == AGAIN:
            continue
        unlike = np.concatenate(
            [dissimilarity(x, y, NARROW).numpy() for x, y in zip(chunks(held.pixels), chunks(images), strict=True)]
        )
        told = {"l1": _mean(np.abs(images - held.pixels), inside), "ssim": 1 - _mean(unlike, inside)}
        found += [mean_of_subjects(measure, name, values, held.subjects) for measure, values in told.items()]
        of_images = told if name == DRAWN else of_images
    return found, of_images


def _between(held: Held, drawings: Mapping[str, np.ndarray]) -> list[Figure]:
    apart = _mean(np.abs(drawings[DRAWN] - drawings[AGAIN]), held.places != NOWHERE)
    return [mean_of_subjects("between_draws", DRAWN, apart, held.subjects, "mean difference of two draws of a map")]


def _segmented(
    run: SynthesizerRun,
    held: Held,
    drawings: Mapping[str, np.ndarray],
    find: judging.Finder | None,
    settings: Mapping[str, Any],
    seed: int,
    device: str,
) -> list[Figure]:
    classes, names = run.labels.count, run.labels.names
    asked, found = np.ones(len(held.pixels), dtype=bool), list[Figure]()
    note = "by the segmenter given"
    drawn_too: judging.Finder | None = None
    if find is None:
        if len(np.unique(held.subjects)) < judging.FEWEST:
            logger.warning("there are too few subjects to train a segmenter on; give --segmenter RUN")
            return []
        learns = judging.halves(held.subjects, seed)
        asked = ~learns
        half = held.part(learns)
        train: dict[str, Any] = {"settings": settings, "seed": seed, "device": device}
        find = judging.trained_on(half, half.pixels, classes, **train)
        drawn_too = judging.trained_on(half, drawings[DRAWN][learns], classes, **train)
        note = f"by a small segmenter that learned from {int(learns.sum())} real images of other people"
    part = held.part(asked)
    dice = dict[str, np.ndarray]()
    for name, images in {REAL: held.pixels, **drawings}.items():
        if name != AGAIN:
            dice[name], falsely = judging.judged(find(images[asked]), part, classes)
            found += judging.figures_of(name, dice[name], names, part.subjects, note)
            found += judging.false_finds(name, falsely, names, part.subjects)
    found += judging.compared(dice, part.subjects, drawn=DRAWN, real=REAL, means=MEANS, seed=seed)
    if drawn_too is not None:
        of_drawn = judging.dice_of(drawn_too, part.pixels, part, classes)
        note = "of real images, by the same segmenter that learned from drawn ones of the same maps"
        found += judging.figures_of(ON_DRAWN, of_drawn, names, part.subjects, note)
    return found


def _likeness(held: Held, known: Held | None, drawings: Mapping[str, np.ndarray], seed: int) -> Iterator[Figure]:
    """Frechet distance, KID, MMD and copies on principal components of the known images, as `generate` has them.

    Where these are gone, on components of the images given, and nothing is said of copies.
    """
    basis = held if known is None else known
    if len(held.pixels) < 4 or len(basis.pixels) < 3:
        logger.warning("too few images for distances between drawn and real ones; they are left out")
        return
    pca = PCA(components=max(1, min(COMPONENTS, len(basis.pixels) - 1)))
    pca.net_, pca.shape_ = pca.build(basis.pixels.shape[1:]), basis.pixels.shape[1:]
    pca.settle(basis.pixels)

    def codes(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.concatenate([pca.encode(x).double().numpy() for x in chunks(images)])

    name, real = f"pca-{pca.components}", codes(held.pixels)
    try:
        for way in (each for each in (DRAWN, MEANS) if each in drawings):
            told = likenesses(codes(drawings[way]), real, held.subjects, name=name, seed=seed)
            if way == DRAWN and len(held.pixels) >= 2 * FEW and known is not None:
                told += novelty(codes(drawings[way]), codes(known.pixels), real, held.subjects, name=name, seed=seed)
            for each in told:
                yield Figure(each.measure, way, each.generated, images=each.n_generated, note=each.note)
                if way == DRAWN:
                    yield Figure(each.measure, REAL, each.real_against_real, images=each.n_real, note=each.note)
    except AnomalyError as error:
        logger.warning("%s; what needs them is left out", error)


def _mean(values: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Means (n,) of maps (n, C, *space) over the pixels that count, (n, *space)."""
    flat = inside[:, None].repeat(values.shape[1], 1).reshape(len(values), -1)
    return np.asarray((values.reshape(len(values), -1) * flat).sum(1) / np.maximum(flat.sum(1), 1))


def _written(
    out: Path,
    run: SynthesizerRun,
    figures: list[Figure],
    held: Held,
    drawings: Mapping[str, np.ndarray],
    of_images: Mapping[str, np.ndarray],
    floors: bool,
) -> Checked:
    told = sentences(figures)
    write_whole(out / TABLE, tabulated(figures).to_csv(index=False))
    rows = pd.DataFrame({"id": held.ids, "subject": held.subjects, **of_images})
    write_whole(out / IMAGES, rows.to_csv(index=False))
    chosen = evenly(len(held.pixels), SHOWN)
    shown = {REAL: held.pixels, **drawings}
    write_sheet(
        out / SHEET, held.places[chosen], {name: each[chosen] for name, each in shown.items()},
        turned=len(set(held.ids)) < len(held.ids), title=f"{run.synthesizer.name} on people it was not trained on",
    )  # fmt: skip
    facts = {
        "synthesizer": run.identity, "sentences": told, "images": len(held.pixels), "not looked at": held.left,
        "floors": f"learned from {'the images that the run learned from' if floors else 'nothing: these are gone'}",
    }  # fmt: skip
    write_whole(out / FACTS, json.dumps(facts, indent=1) + "\n")
    (out / ERRORS).unlink(missing_ok=True)
    if held.unreadable:
        write_whole(out / ERRORS, pd.DataFrame(held.unreadable).to_csv(index=False))
    return Checked(out / TABLE, tuple(figures), tuple(told), out / ERRORS, len(held.unreadable))
