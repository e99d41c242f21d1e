"""Measures of generated images against real ones: how diverse, how alike, and how new they are.

Each comes with the same measure of real images against other real ones, which is what a perfect generator would get.
Images are (n, C, *space) in [-1, 1], features (n, d), both as float arrays.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

from anomaly.errors import AnomalyError
from anomaly.generation.similarity import likeness, scales
from anomaly.statistics.distances import frechet, kid, median_distance, mmd2, nearest

SPLITS = 10
CLOSE = 0.05
FEW = 20  # images, below which 5 % of them are less than one
ENOUGH = 2  # images a feature, below which a Frechet distance says more of their number than of their kind


@dataclass(frozen=True)
class Measure:
    """One number of generated images beside the same of real ones.

    Args:
        measure: its name.
        features: what it was computed on.
        generated: of generated against real images (diversity: among generated ones).
        real_against_real: what real images in their place get.
        n_generated, n_real: images it was computed from.
        note: how, and what to mind.
        sentence: the same in plain words.
    """

    measure: str
    features: str
    generated: float
    real_against_real: float
    n_generated: int
    n_real: int
    note: str
    sentence: str


COLUMNS = [field.name for field in fields(Measure) if field.name != "sentence"]


def tabulated(measures: Iterable[Measure]) -> pd.DataFrame:
    """The measures as `synthesis.csv` holds them, a row each."""
    return pd.DataFrame([{name: getattr(each, name) for name in COLUMNS} for each in measures], columns=COLUMNS)


def halves(subjects: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Which images belong to one random half of the subjects and which to the other, cut to as many of both."""
    names, of = np.unique(subjects, return_inverse=True)
    first = random.permutation(len(names))[of] < len(names) // 2
    parts = [random.permutation(np.flatnonzero(each)) for each in (first, ~first)]
    count = min(map(len, parts))
    return parts[0][:count], parts[1][:count]


def diversity(generated: np.ndarray, real: np.ndarray, subjects: np.ndarray, *, pairs: int, seed: int = 0) -> Measure:
    """How alike two generated images are, beside how alike two real ones of different subjects are.

    Args:
        generated, real: images; `real` may be empty.
        subjects: whose each real image is.
        pairs: at most so many of each.
        seed: of the choice of pairs.
    """
    drawn, of = likeness(generated, np.arange(len(generated)), pairs=pairs, seed=seed)
    floor, pairs_real = likeness(real, subjects, pairs=pairs, seed=seed) if len(real) else (float("nan"), 0)
    count, window = scales(generated.shape[2:])
    sentence = f"Diversity: two new images are alike by an MS-SSIM of {drawn:.3f}"
    if pairs_real:
        sentence += f", two real ones of different subjects by {floor:.3f}"
    note = (
        f"{of} pairs generated, {pairs_real} real of different subjects; {count} scales, window of {window} pixels; "
        "lower is more diverse"
    )
    sentence += "; lower is more diverse, and a generator that draws one image again and again comes near 1."
    return Measure("ms_ssim", "pixels", drawn, floor, len(generated), len(real), note, sentence)


def likenesses(
    generated: np.ndarray, real: np.ndarray, subjects: np.ndarray, *, name: str, seed: int = 0
) -> list[Measure]:
    """MMD^2, Frechet distance and KID, each beside that of real images against other real ones.

    Half of the real subjects are the reference; as many generated images, and the other half, are held against
    it. Given is the mean over random halves.

    Args:
        generated, real: features.
        subjects: whose each real image is.
        name: of the features, for the reader.
        seed: of the halves.
    """
    random, width, found = np.random.default_rng(seed), median_distance(real), []
    distances = (lambda a, b: mmd2(a, b, width), frechet, kid)
    splits = [halves(subjects, random) for _ in range(SPLITS)]
    n = min(len(generated), *(len(one) for one, _ in splits))  # the same throughout, since bias depends on it
    if n < 2:
        raise AnomalyError(
            f"{len(generated)} generated and {len(real)} real images of {len(set(subjects))} subjects are too few; "
            "expected 2 or more generated, and 2 or more in each half of the real subjects"
        )
    for one, other in splits:
        drawn = generated[random.permutation(len(generated))[:n]]
        reference, others = real[one[:n]], real[other[:n]]
        found.append([distance(x, reference) for distance in distances for x in (drawn, others)])
    values = np.array(found)
    told = (
        ("mmd2", "MMD^2", f"unbiased, Gaussian kernel {width:.4g} wide"),
        ("frechet", "Frechet distance", "biased upwards, the more the fewer images"),
        ("kid", "Kernel distance (KID)", "unbiased, kernel (x.y / d + 1)^3; its size follows the unit of the features"),
    )
    return [_likeness(*each, values[:, 2 * k : 2 * k + 2], name, n, generated.shape[1]) for k, each in enumerate(told)]


def _likeness(measure: str, title: str, how: str, values: np.ndarray, name: str, n: int, dimension: int) -> Measure:
    """Generated and real values of each split as one measure."""
    (drawn, floor), (low, high) = values.mean(axis=0), (values[:, 1].min(), values[:, 1].max())
    sentence = (
        f"{title} on {name}: {drawn:.4g} between new and real images, where real images have {floor:.4g} against other "
        f"real ones ({low:.4g} to {high:.4g} over {SPLITS} splits), with {n} images on each side."
    )
    note = f"{how}; {n} images on each side, mean of {SPLITS} splits, real {low:.4g} to {high:.4g}"
    if measure == "frechet" and n < ENOUGH * dimension:
        few = f"{n} images are few for {dimension} features: compare it with its own floor, never with other studies"
        sentence, note = f"{sentence} Note: {few}.", f"{note}; {few}"
    return Measure(measure, name, drawn, floor, n, n, note, sentence)


def novelty(
    generated: np.ndarray, train: np.ndarray, real: np.ndarray, subjects: np.ndarray, *, name: str, seed: int = 0
) -> list[Measure]:
    """Whether generated images are copies of those trained on; two shares, each beside that of held-out real images.

    "closer_to_training": the share of images that lie closer to their nearest training image than 95 % of held-out
    real ones do. Images that are only smoother than real ones lie closer to all of them, so this alone accuses the
    innocent. "copies" therefore takes for each image its distance from the nearest training image over that from
    the nearest held-out one, and gives the share below the 5th percentile of real images: what only is smooth is
    near both, and mostly spared. The question is that of Meehan et al. 2020; distances are Euclidean, between
    features. Given is the mean over random halves of the held-out subjects, one to set the limits, the other as floor;
    `n_real` is the number in each half. A note tells where there are fewer than 20 of a kind.

    Args:
        generated, train, real: features; of what was drawn, trained on, and held out.
        subjects: whose each held-out image is.
        name: of the features, for the reader.
        seed: of the halves.

    Raises:
        AnomalyError: the held-out images are of one subject.
    """
    random, found = np.random.default_rng(seed), []
    splits = [halves(subjects, random) for _ in range(SPLITS)]
    n = min(len(one) for one, _ in splits)
    if not n:
        raise AnomalyError("the real images are of one subject; expected two or more, to compare them with")
    drawn, held = nearest(generated, train), nearest(real, train)
    for one, other in ((one[:n], other[:n]) for one, other in splits):
        closer = [(each < np.quantile(held[one], CLOSE)).mean() for each in (drawn, held[other])]
        ratios = [
            near / np.maximum(nearest(x, reference), np.finfo(float).tiny)
            for near, x, reference in (
                (held[one], real[one], real[other]),
                (drawn, generated, real[other]),
                (held[other], real[other], real[one]),
            )
        ]
        found.append([*closer, *((each < np.quantile(ratios[0], CLOSE)).mean() for each in ratios[1:])])
    closer, closer_real, copies, copies_real = np.mean(found, axis=0)
    sizes, few = (len(generated), n), _few(len(generated), n)
    note = f"{n} held-out images in each half, mean of {SPLITS} splits; {len(train)} training images"
    note += f"; {few}" if few else ""
    told = f" Note: {few}." if few else ""
    return [
        Measure(
            "closer_to_training", name, closer, closer_real, *sizes,
            f"share closer to a training image than 95 % of held-out real images; {note}",
            f"Novelty: {closer:.0%} of the new images lie closer to a training image than 95 % of held-out real ones "
            f"do (other real ones: {closer_real:.0%}); smooth images do so too, by being nearer to everything.{told}",
        ),
        Measure(
            "copies", name, copies, copies_real, *sizes,
            "share nearer to a training image, in relation to a held-out one, than 95 % of held-out real images; "
            f"{note}",
            f"Copies: {copies:.0%} of the new images are nearer to a training image, in relation to a held-out one, "
            f"than 95 % of real ones are (other real ones: {copies_real:.0%}); smooth ones seldom are, copies always."
            f"{told}",
        ),
    ]  # fmt: skip


def _few(generated: int, half: int) -> str:
    """Which numbers are too small for a share of 5 %, in words; none where both do."""
    told = ((generated, "new images"), (half, "held-out ones in a half"))
    few = " and ".join(f"{number} {what}" for number, what in told if number < FEW)
    return f"{few} are few for a limit of {CLOSE:.0%}, which wants {FEW} or more of each" if few else ""
