"""How often group maps find something where there is nothing, and where there is; and how fast, beside nilearn.

    python -m benchmarks.association [--cohorts 1000] [--permutations 199] [--seed 0] [--without-speed]

Cohorts are 60 images of smooth noise, 24 x 24, unless they say otherwise. Two knees of a person share 70 % of their
variance at each voxel. A cohort counts when any voxel is significant at 5 %, corrected for all voxels. In the power
columns a disc of radius 4 is shifted by 0.7 standard deviations in the images with the outcome, and a cohort counts
when a voxel of it is found.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from statsmodels.stats.proportion import proportion_confint

from anomaly.statistics.permutation import plan
from explain.association.groupmap import CORRECTIONS, group_map

IMAGES, SIDE, BLUR, SHARED, EFFECT, RADIUS, ALPHA = 60, 24, 1.5, 0.7, 0.7, 4, 0.05
MASK = np.ones((SIDE, SIDE), dtype=bool)
DISC = np.hypot(*(np.indices((SIDE, SIDE)) - SIDE / 2)) <= RADIUS


@dataclass(frozen=True)
class Cohort:
    """Maps (n, voxels), outcome (n,), and what the test is told of covariates, persons and sets."""

    maps: np.ndarray
    outcome: np.ndarray
    covariates: np.ndarray | None = None
    subject: np.ndarray | None = None
    match: np.ndarray | None = None
    robust: bool = True


Design = Callable[[np.random.Generator], Cohort]


def smooth(number: int, rng: np.random.Generator, side: int = SIDE) -> np.ndarray:
    """Smooth noise of variance one, (number, side * side)."""
    noise = ndimage.gaussian_filter(rng.normal(size=(number, side, side)), (0, BLUR, BLUR), mode="wrap")
    return (noise / noise.std()).reshape(number, -1).astype(np.float32)


def knees(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Maps of two knees a person, and whose each is."""
    person = np.repeat(np.arange(IMAGES // 2), 2)
    return np.sqrt(SHARED) * smooth(IMAGES // 2, rng)[person] + np.sqrt(1 - SHARED) * smooth(IMAGES, rng), person


def one_image(rng: np.random.Generator) -> Cohort:
    """One image a person, a third of them cases."""
    return Cohort(smooth(IMAGES, rng), rng.permutation(IMAGES) < IMAGES // 3)


def one_image_pooled(rng: np.random.Generator) -> Cohort:
    """As `one_image`, pooled variance."""
    cohort = one_image(rng)
    return Cohort(cohort.maps, cohort.outcome, robust=False)


def confounded(rng: np.random.Generator) -> Cohort:
    """One image a person; age drives both the outcome and the maps, and is adjusted for."""
    age = rng.normal(size=IMAGES)
    outcome = age + rng.normal(size=IMAGES) > 0.5
    return Cohort(smooth(IMAGES, rng) + age[:, None].astype(np.float32), outcome, age[:, None])


def constant(rng: np.random.Generator) -> Cohort:
    """Two knees a person, both with the outcome or both without."""
    maps, person = knees(rng)
    return Cohort(maps, (rng.permutation(IMAGES // 2) < IMAGES // 6)[person], None, person)


def mixed(rng: np.random.Generator) -> Cohort:
    """Two knees a person; in a third of the persons one knee has the outcome, in a sixth both."""
    maps, person = knees(rng)
    held = rng.permutation(np.repeat([0, 1, 2], [IMAGES // 4, IMAGES // 6, IMAGES // 12]))
    first = rng.integers(0, 2, held.size)
    outcome = np.stack([(held + first) > 1, (held + 1 - first) > 1], axis=1).ravel()
    return Cohort(maps, outcome, None, person)


def mixed_adjusted(rng: np.random.Generator) -> Cohort:
    """As `mixed`, with age (of the person) and side (of the knee) in the maps, the outcome and the model."""
    cohort = mixed(rng)
    age, side = np.repeat(rng.normal(size=IMAGES // 2), 2), np.tile([0.0, 1.0], IMAGES // 2)
    risk = age + side + rng.normal(size=IMAGES)
    shift = (age / 2 + side).astype(np.float32)[:, None]
    return Cohort(cohort.maps + shift, risk > np.quantile(risk, 0.6), np.stack([age, side], 1), cohort.subject)


def within(rng: np.random.Generator) -> Cohort:
    """A painful and a painless knee of each person, matched within the person: signs of differences change."""
    maps, person = knees(rng)
    first = rng.integers(0, 2, IMAGES // 2)
    return Cohort(maps, np.stack([first, 1 - first], axis=1).ravel() == 1, None, person, person)


def spread(rng: np.random.Generator) -> Cohort:
    """One image a person; the fewer cases vary twice as much as controls, pooled variance."""
    return _spread(rng, IMAGES, robust=False)


def spread_robust(rng: np.random.Generator) -> Cohort:
    """As `spread`, robust variance."""
    return _spread(rng, IMAGES, robust=True)


def spread_robust_many(rng: np.random.Generator) -> Cohort:
    """As `spread_robust`, 50 cases of 200."""
    return _spread(rng, 200, robust=True)


def _spread(rng: np.random.Generator, images: int, *, robust: bool) -> Cohort:
    outcome = rng.permutation(images) < images // 4
    return Cohort(smooth(images, rng) * np.where(outcome, 2, 1).astype(np.float32)[:, None], outcome, robust=robust)


DESIGNS: dict[str, Design] = {
    "one image a person": one_image,
    "one image, pooled": one_image_pooled,
    "confounder adjusted": confounded,
    "two knees, same outcome": constant,
    "two knees, mixed": mixed,
    "two knees, mixed, adjusted": mixed_adjusted,
    "pairs of knees": within,
}
UNEQUAL: dict[str, Design] = {
    "cases vary more, pooled": spread,
    "cases vary more, robust": spread_robust,
    "50 cases of 200 vary more, robust": spread_robust_many,
}


def found(
    design: Design,
    cohorts: int,
    permutations: int,
    seed: int,
    effect: float = 0.0,
    corrections: Sequence[str] = CORRECTIONS,
) -> dict[str, int]:
    """In how many cohorts each correction finds a voxel; with an effect, a voxel of the disc."""
    counts = dict.fromkeys(corrections, 0)
    for number in range(cohorts):
        cohort = design(np.random.default_rng([seed, number]))
        maps = cohort.maps + effect * cohort.outcome[:, None] * DISC.ravel()
        model = plan(cohort.outcome, cohort.covariates, cohort.subject, cohort.match)
        for name in corrections:
            result = group_map(
                maps.astype(np.float32), cohort.outcome, model, MASK, correction=name,
                permutations=permutations, cluster_threshold=0.01, robust=cohort.robust, seed=number,
            )  # fmt: skip
            where = DISC.ravel() if effect else slice(None)
            counts[name] += bool((result.p[where] <= ALPHA).any())
    return counts


def speed(repeats: int, seed: int) -> dict[str, float]:
    """Seconds of each (median over pairs of runs), their ratio, and the largest difference of p-values."""
    from nilearn.mass_univariate import permuted_ols

    rng, side = np.random.default_rng([seed, 0]), 64
    maps, outcome, age = smooth(200, rng, side), np.arange(200) < 70, rng.normal(size=(200, 1))
    maps[:70, : 6 * side] += 0.3
    mask, ours, theirs = np.ones((side, side), dtype=bool), list[float](), list[float]()
    for _ in range(repeats):
        start = time.perf_counter()
        mine = group_map(maps, outcome, plan(outcome, age), mask, permutations=1000, robust=False, seed=seed)
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        other = permuted_ols(outcome[:, None].astype(float), maps, age, n_perm=1000, random_state=seed)
        theirs.append(time.perf_counter() - start)
    p = 10 ** -other["logp_max_t"][0]
    ratio = float(np.median(np.array(theirs) / ours))
    seconds = {"ours": float(np.median(ours)), "nilearn": float(np.median(theirs)), "ratio": ratio}
    return seconds | {
        "t apart": float(np.abs(other["t"][0] - mine.t).max()),
        "p apart": float(np.abs(p - mine.p).max()),
    }


def main() -> None:
    """Print tables in Markdown: false findings, power, speed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=1000)
    parser.add_argument("--permutations", type=int, default=199)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without-speed", action="store_true")
    arguments = parser.parse_args()
    shown = [*CORRECTIONS, *(f"power {name}" for name in CORRECTIONS)]
    print(f"In % of {arguments.cohorts} cohorts without any effect (95 % interval), and of 100 with one.\n")
    print("| design | " + " | ".join(shown) + " |\n|" + " --- |" * (len(shown) + 1), flush=True)
    for name, design in {**DESIGNS, **UNEQUAL}.items():
        null = found(design, arguments.cohorts, arguments.permutations, arguments.seed)
        power = found(design, 100, arguments.permutations, arguments.seed + 1, EFFECT)
        cells = [_share(count, arguments.cohorts) for count in null.values()] + [str(count) for count in power.values()]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    if not arguments.without_speed:
        print("\n200 images of 64 x 64, one covariate, 1,000 permutations, max-t; medians of 5 pairs of runs:\n")
        print("\n".join(f"- {name}: {value:.3g}" for name, value in speed(5, arguments.seed).items()))


def _share(count: int, total: int) -> str:
    low, high = proportion_confint(count, total, method="wilson")
    return f"{100 * count / total:.1f} ({100 * low:.1f}–{100 * high:.1f})"


if __name__ == "__main__":
    main()
