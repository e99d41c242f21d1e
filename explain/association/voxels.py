"""The linear model at every voxel: what is left of the maps, and t after any number of shufflings."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from anomaly.statistics.permutation import Plan, means, members

_VOXELS = 4096  # taken at a time
# Share of a voxel's variance that a fit must leave: single precision knows no less.
_LEAST = 1e-6


def residuals(plan: Plan, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Maps (n, V) without what means and covariates explain: (k, V) float32 of length one a voxel, and the lengths.

    A voxel that these explain entirely is zero throughout.
    """
    unit, lengths = np.empty((plan.kept.size, maps.shape[1]), dtype=np.float32), np.empty(maps.shape[1])
    for start in range(0, maps.shape[1], _VOXELS):
        some = slice(start, start + _VOXELS)
        left = plan.rows(maps[:, some]).astype(np.float64)
        before = np.linalg.norm(left, axis=0)
        if not plan.signed:
            left -= means(plan.levels, left)[plan.levels]
        left -= plan.basis @ (plan.basis.T @ left)
        lengths[some] = np.linalg.norm(left, axis=0)
        varies = lengths[some] > _LEAST * before  # maps are known to a few parts in ten million
        unit[:, some] = np.divide(left, lengths[some], out=np.zeros_like(left), where=varies)
    return unit, lengths


def t_maps(
    plan: Plan, unit: np.ndarray, index: np.ndarray, signs: np.ndarray, *, robust: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients and t of the outcome, both (B, V), after B shufflings of residuals (k, V) of length one.

    The residual variance is pooled, or, with `robust`, a sum over blocks of squared scores, each from a fit that
    leaves its block out (the jackknife of MacKinnon & White 1985 for blocks of one, of Bell & McCaffrey 2002 else).
    Pooled is right where each row is another person and groups spread alike. Where the fewer spread more, as those
    with a disease may, pooled t is far too large, and no shuffling mends that; and with several images a person it
    takes images for persons, so that it cannot be read (its permutation p is right all the same). Robust t costs
    little power with twenty cases, and a third with ten.

    Everything is a product of matrices: t needs the shuffled columns times the residuals, and the sum over
    blocks needs, besides, the products of residuals within each block, which move with the block.
    """
    columns = plan.columns
    number, voxels, kinds = len(index), unit.shape[1], len(columns)
    weights = (columns[:, index] * signs).astype(np.float32).reshape(-1, unit.shape[0])
    spread = _Blocks.of(plan, index, signs) if robust else None
    coefficients, t = np.empty((2, number, voxels), dtype=np.float32)
    for start in range(0, voxels, _VOXELS):
        some = slice(start, start + _VOXELS)
        found = (weights @ unit[:, some]).reshape(kinds, number, -1)
        if spread is None:
            variance = (1 - np.einsum("kbv,kbv->bv", found, found)) / plan.freedom
        else:
            variance = spread.variance(unit[:, some], found)
        coefficients[:, some] = found[0]
        t[:, some] = found[0] / np.sqrt(np.maximum(variance, _LEAST / plan.freedom))
    return coefficients, t


def voxel_auroc(maps: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    """AUROC (V,) of each voxel of maps (n, V), by midranks; without controls the share above zero, ties one half."""
    event = np.asarray(outcome).astype(bool)
    if event.all():
        return (1 + np.sign(maps).mean(axis=0, dtype=np.float64)) / 2
    cases, controls = int(event.sum()), int((~event).sum())
    sums = [rankdata(maps[:, i : i + _VOXELS], axis=0)[event].sum(axis=0) for i in range(0, maps.shape[1], _VOXELS)]
    return (np.concatenate(sums) - cases * (cases + 1) / 2) / (cases * controls)


@dataclass(frozen=True)
class _Blocks:
    """The sum over blocks of squared scores (x'r)^2 as linear and quadratic forms that move with the blocks."""

    first: np.ndarray
    second: np.ndarray
    pairs: np.ndarray
    cross: np.ndarray
    square: np.ndarray
    factor: float

    @classmethod
    def of(cls, plan: Plan, index: np.ndarray, signs: np.ndarray) -> "_Blocks":
        inside = [rows[np.stack(np.triu_indices(rows.size))] for rows in members(plan.blocks)]
        first, second = np.concatenate(inside, axis=1)
        score, count = plan.score, int(plan.blocks.max()) + 1
        within = np.stack([np.bincount(plan.blocks, score * each, minlength=count) for each in plan.columns])
        moved = score[index] * signs
        pairs = moved[:, first] * moved[:, second] * np.where(first == second, 1.0, 2.0)
        cross = (within[:, plan.blocks] * score)[:, index] * signs
        single = [each.astype(np.float32) for each in (pairs, cross, within @ within.T)]
        return cls(first, second, single[0], single[1], single[2], (count - 1) / count)

    def variance(self, unit: np.ndarray, found: np.ndarray) -> np.ndarray:
        """Of the coefficient, (B, V), where `found` (1 + q, B, V) are the coefficients of all columns."""
        total = self.pairs @ (unit[self.first] * unit[self.second])
        for column, cross in zip(found, self.cross, strict=True):
            total -= 2 * column * (cross @ unit)
        return self.factor * (total + np.einsum("kbv,kl,lbv->bv", found, self.square, found, optimize=True))
