"""Tests of a linear model in many voxels at once by shuffling, when persons give several images or are matched.

The model of a voxel is `map = outcome + covariates + mean`. What the covariates and the mean explain is taken
out of the maps, the residuals are shuffled and the model is fitted again (Freedman & Lane 1983; Winkler et al.
2014, NeuroImage 92, algorithm 1). A shuffling may only exchange what could as well have been the other way
round if the outcome meant nothing (Winkler et al. 2015, NeuroImage 123):

- one image a subject: any image for any other, so subjects must be exchangeable given the covariates;
- several images a subject: whole subjects with the same number of images, and the images of a subject among
  themselves. This is right for an outcome that is constant within subjects (only the first moves it), that
  varies within each (only the second does), and for a mixture. It assumes that subjects with equally many images
  are alike under the null, and that any two images of a subject are equally correlated;
- matched sets: within sets only, whose means are part of the model, so that sets may differ in any way. In sets
  of a case and a control it is the signs of the differences that change; where a subject has a part in several
  sets, all sets so tied together change sign as one.

Residuals are exchangeable exactly without covariates, and nearly so with few of them.
"""

from dataclasses import dataclass
from functools import cached_property
from math import comb, factorial, prod

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from anomaly.errors import EvaluationError
from anomaly.statistics.estimates import groups_of

# A tie in exact arithmetic must count as one in single precision.
_TIE = 1e-4


@dataclass(frozen=True)
class Plan:
    """A linear model with one tested column, and the shufflings that are fair to it; made by `plan`.

    Args:
        kept: (k,) positions of the images that count.
        partner: (k,) the controls, where the rows of the model are differences case minus control; else None.
        levels: (k,) which mean a row has, 0, 1, 2 ...; differences have none, and all zeros.
        blocks: (k,) what stays together: a subject's images, or the differences that change sign as one.
        tested: (k,) the outcome without what means and covariates explain, of length one.
        length: of that column before.
        basis: (k, q) orthonormal columns that span the covariates.
        freedom: degrees of freedom of the residual.
        arrangements: how many ways the shufflings can arrange the outcome, which bounds the p-value below.
        against_zero: whether the rows are held against zero, as changes are, and not one group against another.
    """

    kept: np.ndarray
    partner: np.ndarray | None
    levels: np.ndarray
    blocks: np.ndarray
    tested: np.ndarray
    length: float
    basis: np.ndarray
    freedom: int
    arrangements: int
    against_zero: bool = False

    @property
    def signed(self) -> bool:
        """Whether signs change rather than places: of differences, or of values that are held against zero."""
        return self.against_zero or self.partner is not None

    def rows(self, values: np.ndarray) -> np.ndarray:
        """The rows of the model from values (n, ...) of all images."""
        return values[self.kept] if self.partner is None else values[self.kept] - values[self.partner]

    @property
    def images(self) -> np.ndarray:
        """Positions of all images that count, in their order."""
        return self.kept if self.partner is None else np.sort(np.concatenate([self.kept, self.partner]))

    @property
    def columns(self) -> np.ndarray:
        """The tested column and those of the covariates, (1 + q, k)."""
        return np.vstack([self.tested, self.basis.T])

    @cached_property
    def score(self) -> np.ndarray:
        """The tested column (k,) divided, block by block, by the share that a fit leaves of the block's residuals."""
        columns, sizes, score = self.columns, np.bincount(self.levels), np.empty_like(self.tested)
        for rows in members(self.blocks):
            fitted = columns[:, rows].T @ columns[:, rows]
            if not self.signed:
                levels = self.levels[rows]
                fitted = fitted + (levels[:, None] == levels) / sizes[levels]
            score[rows] = np.linalg.pinv(np.eye(rows.size) - fitted, rcond=1e-6, hermitian=True) @ self.tested[rows]
        return score


def plan(
    outcome: ArrayLike,
    covariates: ArrayLike | None = None,
    subject: ArrayLike | None = None,
    match: ArrayLike | None = None,
) -> Plan:
    """The model and its shufflings for an outcome (n,) of 0/1, covariates (n, p), names of subjects and of sets.

    Sets without both outcomes tell nothing and are left out of `kept`.

    Raises:
        EvaluationError: no set holds both outcomes; covariates or sets determine the outcome; subjects that have
            a part in several sets which are not pairs.
    """
    event = np.asarray(outcome, dtype=np.float64)
    added = np.empty((event.size, 0)) if covariates is None else np.asarray(covariates, dtype=np.float64)
    people = groups_of(subject, event.size)
    if match is None:
        everyone, alike = np.arange(event.size), np.zeros(event.size, dtype=int)
        return _model(everyone, None, event, added, alike, people)
    sets = groups_of(match, event.size)
    cases, sizes = np.bincount(sets, weights=event), np.bincount(sets)
    kept = np.flatnonzero(((cases > 0) & (cases < sizes))[sets])
    if not kept.size:
        raise EvaluationError("the outcome is the same within every matched set; leave the matching out")
    sets, people = groups_of(sets[kept], kept.size), groups_of(people[kept], kept.size)
    if (np.bincount(sets) == 2).all():
        return _paired(kept, event, added, sets, people)
    if np.unique(np.stack([people, sets]), axis=1).shape[1] > people.max() + 1:
        raise EvaluationError(
            "subjects have a part in several matched sets, which are not all pairs of a case and a control; "
            "match pairs, or keep each subject in one set"
        )
    return _model(kept, None, event[kept], added[kept], sets, people)


def against_zero(size: int, covariates: ArrayLike | None = None, subject: ArrayLike | None = None) -> Plan:
    """The model of whether values of `size` images, such as changes, are 0 on average, beside covariates (n, p).

    All values of a subject change sign as one, which is fair if they lie symmetrically about zero under the null.

    Raises:
        EvaluationError: covariates determine the mean.
    """
    added = np.empty((size, 0)) if covariates is None else np.asarray(covariates, dtype=np.float64)
    everyone, alike = np.arange(size), np.zeros(size, dtype=int)
    return _model(everyone, None, np.ones(size), added - added.mean(axis=0), alike, groups_of(subject, size), zero=True)


def shuffled(plan: Plan, number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """`number` fair shufflings, evenly drawn: for each row the row it stands for, and its sign, both (number, k).

    Drawn in any portions, they are the same.
    """
    size, count = plan.blocks.size, int(plan.blocks.max()) + 1
    if plan.signed:
        signs = np.where(rng.random((number, count)) < 0.5, -1.0, 1.0)
        return np.broadcast_to(np.arange(size), (number, size)), signs[:, plan.blocks]
    cells, blocks = _cells(plan)
    keys = rng.random((number, count + size))
    places = np.argsort(cells + keys[:, :count], axis=1)
    inside = np.argsort(blocks + keys[:, count:], axis=1)
    layout = np.argsort(blocks, kind="stable")
    slots = blocks[layout]
    starts = np.searchsorted(slots, np.arange(count))
    index = np.empty((number, size), dtype=np.intp)
    index[:, layout] = np.take_along_axis(inside, starts[places[:, slots]] + np.arange(size) - starts[slots], axis=1)
    return index, np.ones((number, size))


def corrected_p(observed: np.ndarray, maxima: np.ndarray) -> np.ndarray:
    """Share of the shufflings, the data as they are among them, whose maximum reaches each observed value.

    (1 + count) / (1 + shufflings), Phipson & Smyth 2010; corrected for all voxels (family-wise error).
    """
    below = np.searchsorted(np.sort(maxima), observed * (1 - _TIE), side="left")
    return (1 + maxima.size - below) / (1 + maxima.size)


def _paired(kept: np.ndarray, event: np.ndarray, added: np.ndarray, sets: np.ndarray, people: np.ndarray) -> Plan:
    """Differences of pairs, case minus control, in the order of the sets."""
    order = kept[np.lexsort((-event[kept], sets))]
    cases, controls = order[::2], order[1::2]
    tied = coo_array((np.ones(kept.size), (sets, people + sets.max() + 1)), shape=(sets.size + people.size,) * 2)
    blocks = connected_components(tied, directed=False)[1][: cases.size]
    difference = added[cases] - added[controls]
    return _model(cases, controls, np.ones(cases.size), difference, np.zeros(cases.size, dtype=int), blocks)


def _model(
    kept: np.ndarray,
    partner: np.ndarray | None,
    event: np.ndarray,
    added: np.ndarray,
    levels: np.ndarray,
    blocks: np.ndarray,
    *,
    zero: bool = False,
) -> Plan:
    signed = zero or partner is not None
    blocks = groups_of(blocks, event.size)
    both = np.column_stack([event, added])
    fitted = 0
    if not signed:
        both, fitted = both - means(levels, both)[levels], int(levels.max()) + 1
    scale = np.linalg.norm(added, axis=0)
    left, strength, _ = np.linalg.svd(both[:, 1:] / np.where(scale > 0, scale, 1.0), full_matrices=False)
    basis = left[:, strength > 1e-8]
    tested = both[:, 0] - basis @ (basis.T @ both[:, 0])
    length, freedom = float(np.linalg.norm(tested)), event.size - fitted - basis.shape[1] - 1
    if length < 1e-6 * np.sqrt(event.size) or freedom < 1:
        raise EvaluationError(
            f"covariates and matched sets determine the outcome of the {event.size} images; adjust for fewer"
        )
    count = 2 ** (int(blocks.max()) + 1) if signed else _arrangements(event, levels, blocks)
    return Plan(kept, partner, levels, blocks, tested / length, length, basis, freedom, count, zero)


def members(blocks: np.ndarray) -> list[np.ndarray]:
    """The rows of each block."""
    return np.split(np.argsort(blocks, kind="stable"), np.cumsum(np.bincount(blocks))[:-1])


def means(levels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Mean of the rows of each level, (levels, ...)."""
    members = coo_array((np.ones(levels.size), (levels, np.arange(levels.size)))).tocsr()
    return (members @ values) / np.bincount(levels)[:, None]


def _cells(plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """Which blocks may change places, as rising numbers, one a block; and blocks numbered in that order."""
    sizes, sets = np.bincount(plan.blocks), np.zeros(int(plan.blocks.max()) + 1, dtype=int)
    sets[plan.blocks] = plan.levels
    cells = np.unique(np.stack([sets, sizes]), axis=1, return_inverse=True)[1].reshape(-1)
    order = np.argsort(cells, kind="stable")
    return cells[order], np.argsort(order)[plan.blocks]


def _arrangements(event: np.ndarray, levels: np.ndarray, blocks: np.ndarray) -> int:
    """How many ways there are to deal the outcomes to the images: those of blocks, times those within each."""
    sizes, cases = np.bincount(blocks), np.bincount(blocks, weights=event).astype(int)
    sets = np.zeros(sizes.size, dtype=int)
    sets[blocks] = levels
    cells, dealt = np.unique(np.stack([sets, sizes, cases]), axis=1, return_counts=True)
    among = {cell: 0 for cell in zip(cells[0], cells[1], strict=True)}
    for cell, alike in zip(zip(cells[0], cells[1], strict=True), dealt, strict=True):
        among[cell] += int(alike)
    ways = prod(factorial(blocks_in) for blocks_in in among.values())
    ways //= prod(factorial(int(alike)) for alike in dealt)
    return ways * prod(comb(int(size), int(held)) for size, held in zip(sizes, cases, strict=True))
