"""The exact conditional likelihood of matched sets of any size: which of a set are its cases, given how many."""

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from anomaly.errors import EvaluationError

# Steps of the recursion over all sets, images by cases by columns squared: some seconds a fit.
MOST_WORK = 500_000_000
_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class _Alike:
    """Sets of the same size and number of cases: columns (S, size, p) and the sum of those of the cases (S, p)."""

    columns: np.ndarray
    chosen: np.ndarray
    cases: int


class ConditionalLikelihood:
    """Conditional logistic regression (Breslow & Day 1980, chapter 7) of 0/1 (n,) on (n, p) within sets (n,).

    The chance that of all ways to choose the cases of a set those were chosen that are. Every set must hold a case
    and a control. Sets of one case (or of one control) need no recursion; else that of Gail, Lubin & Rubinstein 1981
    is made on chances, those of a set scaled so that its number of cases is the one expected, so that nothing
    overflows however large the set.

    Raises:
        EvaluationError: sets so large that the recursion would take more than `MOST_WORK` steps.
    """

    def __init__(self, event: np.ndarray, columns: np.ndarray, sets: np.ndarray) -> None:
        sizes, cases = np.bincount(sets), np.bincount(sets, weights=event).astype(int)
        # Choosing the controls is choosing the cases: the fewer of the two are counted.
        fewer = np.minimum(cases, sizes - cases)
        self.width = columns.shape[1]
        work = int(np.sum(np.where(fewer > 1, sizes * fewer, 0))) * (1 + self.width) ** 2
        if work > MOST_WORK:
            largest = int(np.argmax(sizes * fewer))
            raise EvaluationError(
                f"matched sets are too large for a conditional odds ratio: the largest holds {cases[largest]} cases "
                f"and {sizes[largest] - cases[largest]} controls; such sets are strata: name their column as strata, "
                "or adjust for what they share"
            )
        flip = (cases > sizes - cases)[sets]
        sign, taken = np.where(flip, -1.0, 1.0)[:, None], event != flip
        order = np.lexsort((sets, fewer[sets], sizes[sets]))
        signed = (columns * sign)[order]
        self.alike: list[_Alike] = []
        kinds = np.stack([sizes[sets], fewer[sets]], axis=1)[order]
        starts = np.flatnonzero(np.any(np.diff(kinds, axis=0, prepend=-1) != 0, axis=1))
        for start, end in zip(starts, np.append(starts[1:], len(order)), strict=True):
            size, held = kinds[start]
            block = signed[start:end].reshape(-1, size, self.width)
            picked = block * taken[order][start:end].reshape(-1, size, 1)
            self.alike.append(_Alike(block, picked.sum(axis=1), int(held)))

    def height(self, params: np.ndarray) -> float:
        """The log-likelihood at coefficients (p,)."""
        return float(sum(np.sum(each.chosen @ params) - np.sum(_total(each, params)) for each in self.alike))

    def slope(self, params: np.ndarray) -> np.ndarray:
        """Its derivative (p,)."""
        return np.sum([each.chosen.sum(axis=0) - _moments(each, params)[0] for each in self.alike], axis=0)

    def information(self, params: np.ndarray) -> np.ndarray:
        """Minus its second derivative (p, p)."""
        return np.sum([_moments(each, params)[1] for each in self.alike], axis=0)


def _total(alike: _Alike, params: np.ndarray) -> np.ndarray:
    """The logarithm (S,) of the sum over all ways to choose the cases."""
    odds = alike.columns @ params
    if alike.cases == 1:
        return np.asarray(logsumexp(odds, axis=1))
    chance, shift = _tilted(odds, alike.cases)
    reached = _recursion(alike.columns[:, :, :0], chance, alike.cases)[0]
    return np.log(reached) - np.sum(np.log1p(-chance), axis=1) + alike.cases * shift


def _moments(alike: _Alike, params: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (p,) and covariance (p, p), summed over sets, of the sum of the columns of those chosen."""
    odds = alike.columns @ params
    if alike.cases == 1:
        share = np.exp(odds - logsumexp(odds, axis=1, keepdims=True))[:, :, None]
        mean = np.sum(share * alike.columns, axis=1)
        around = alike.columns - mean[:, None]
        return mean.sum(axis=0), np.einsum("sni,snj->ij", around * share, around)
    chance, _ = _tilted(odds, alike.cases)
    # About a centre near the mean nothing cancels; what is added to every image comes back times the cases.
    centre = np.sum(chance[:, :, None] * alike.columns, axis=1) / alike.cases
    step = max(1, _AT_ONCE // ((alike.cases + 1) * (1 + alike.columns.shape[2]) ** 2))
    mean, spread = np.zeros(alike.columns.shape[2]), np.zeros([alike.columns.shape[2]] * 2)
    for start in range(0, len(odds), step):
        part = slice(start, start + step)
        around = alike.columns[part] - centre[part, None]
        reached, first, second = _recursion(around, chance[part], alike.cases)
        first, second = first / reached[:, None], second / reached[:, None, None]
        mean += np.sum(first + alike.cases * centre[part], axis=0)
        spread += np.sum(second - first[:, :, None] * first[:, None], axis=0)
    return mean, spread


def _tilted(odds: np.ndarray, cases: int) -> tuple[np.ndarray, np.ndarray]:
    """Chances (S, n) with these log-odds less a shift (S,) of each set, so that as many are expected as there are."""
    middle = np.quantile(odds, 1 - cases / odds.shape[1], axis=1)
    low, high = odds.min(axis=1) - 40.0, odds.max(axis=1) + 40.0
    for _ in range(60):
        chance = 1 / (1 + np.exp(np.clip(middle[:, None] - odds, -700, 700)))
        excess = chance.sum(axis=1) - cases
        low, high = np.where(excess > 0, middle, low), np.where(excess > 0, high, middle)
        if np.abs(excess).max() < 1e-9 * cases:
            break
        step = middle + excess / np.maximum(np.sum(chance * (1 - chance), axis=1), 1e-12)
        middle = np.where((step > low) & (step < high), step, (low + high) / 2)
    chance = 1 / (1 + np.exp(np.clip(middle[:, None] - odds, -700, 700)))
    return np.clip(chance, 1e-300, 1 - 1e-16), middle


def _recursion(columns: np.ndarray, chance: np.ndarray, cases: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Chance (S,) that just so many are chosen, and with it the first (S, p) and second moments of their sum."""
    sets, size, width = columns.shape
    zero = np.zeros((sets, cases + 1))
    reached, first = zero.copy(), np.zeros((sets, cases + 1, width))
    second = np.zeros((sets, cases + 1, width, width))
    reached[:, 0] = 1.0
    for k in range(size):
        p, x = chance[:, k, None], columns[:, k, None]
        outer = x[:, :, :, None] * x[:, :, None]
        cross = first[:, :-1, :, None] * x[:, :, None]
        with_it = second[:, :-1] + cross + np.swapaxes(cross, 2, 3) + outer * reached[:, :-1, None, None]
        second *= 1 - p[..., None, None]
        second[:, 1:] += p[..., None, None] * with_it
        moved = first[:, :-1] + x * reached[:, :-1, None]
        first *= 1 - p[..., None]
        first[:, 1:] += p[..., None] * moved
        before = reached[:, :-1] * p
        reached *= 1 - p
        reached[:, 1:] += before
    return reached[:, cases], first[:, cases], second[:, cases]
