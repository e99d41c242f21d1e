"""The partial likelihood of Cox's model with Efron's ties: its height, its slope, its curvature, and who adds what."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class _Moment:
    """What stands below the line (deaths,) for each death, the risks, and the log-odds they come from."""

    risk: np.ndarray
    below: np.ndarray


class PartialLikelihood:
    """Cox 1972 with the ties of Efron 1977: images (n,) in the order of their times, every death a term.

    Of d deaths at one time the l-th (l = 0 ... d - 1) has l / d of the others' risk gone before it. With `entries`
    (n,), an image is at risk after its entry, up to its time (Andersen and Gill 1982).
    """

    def __init__(
        self, times: np.ndarray, events: np.ndarray, columns: np.ndarray, entries: np.ndarray | None = None
    ) -> None:
        self.order = np.argsort(times, kind="stable")
        self.columns, self.times = columns[self.order], times[self.order]
        self.dead = np.flatnonzero(events[self.order])
        self.steps, self.step, count = np.unique(self.times[self.dead], return_inverse=True, return_counts=True)
        self.first = np.searchsorted(self.times, self.steps)  # the first image still at risk at each step
        starts = np.cumsum(count) - count
        self.gone = (np.arange(self.dead.size) - starts[self.step]) / count[self.step]
        self.starts = starts
        # How many steps each image has seen when it left, and before it came.
        self.known = np.searchsorted(self.steps, self.times, side="right")
        self.late: np.ndarray | None = None
        if entries is not None:
            came = entries[self.order]
            self.before = np.searchsorted(self.steps, came, side="right")
            self.late = np.argsort(came, kind="stable")
            self.absent = np.searchsorted(came[self.late], self.steps)  # the first, by entry, not yet there at a step

    def height(self, params: np.ndarray) -> float:
        """The log-likelihood at coefficients (p,)."""
        odds = self.columns @ params
        top = float(odds.max())
        return float(np.sum(odds[self.dead] - top) - np.sum(np.log(self._below(np.exp(odds - top)))))

    def slope(self, params: np.ndarray) -> np.ndarray:
        """Its derivative (p,)."""
        at = self._at(params)
        return np.array([np.sum(x[self.dead]) - np.sum(self._mean(at, x)) for x in self.columns.T])

    def information(self, params: np.ndarray) -> np.ndarray:
        """Minus its second derivative (p, p)."""
        at, width = self._at(params), self.columns.shape[1]
        means = [self._mean(at, x) for x in self.columns.T]
        found = np.empty((width, width))
        for i in range(width):
            for j in range(i + 1):
                both = self._mean(at, self.columns[:, i] * self.columns[:, j])
                found[i, j] = found[j, i] = np.sum(both - means[i] * means[j])
        return found

    def residuals(self, params: np.ndarray) -> np.ndarray:
        """What each image adds (n, p) to the slope, in the order they were given; they sum to zero at the maximum."""
        at = self._at(params)
        lived, spared = self._lived(1 / at.below), self._by_step(self.gone / at.below)
        found = np.empty(self.columns.shape)
        for j, x in enumerate(self.columns.T):
            mean = self._mean(at, x)
            lived_mean = self._lived(mean / at.below)
            here = -at.risk * (x * lived - lived_mean)
            # Those with the event at a step are at risk for 1 - l / d of it: give back the rest.
            spared_mean = self._by_step(self.gone * mean / at.below)
            back = x[self.dead] * spared[self.step] - spared_mean[self.step]
            tied = self._by_step(mean) / np.bincount(self.step)
            here[self.dead] += x[self.dead] - tied[self.step] + at.risk[self.dead] * back
            found[self.order, j] = here
        return found

    def shares(self, params: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """What each person adds (K, p, p) to the information: the spread of its images about those at risk."""
        at, width, whose = self._at(params), self.columns.shape[1], groups[self.order]
        hazard, means = self._lived(1 / at.below), [self._mean(at, x) for x in self.columns.T]
        levels = [self._lived(mean / at.below) for mean in means]
        found = np.empty((int(groups.max()) + 1, width, width))
        for i in range(width):
            for j in range(i + 1):
                x, y = self.columns[:, i], self.columns[:, j]
                spread = x * y * hazard - x * levels[j] - y * levels[i] + self._lived(means[i] * means[j] / at.below)
                found[:, i, j] = found[:, j, i] = np.bincount(whose, at.risk * spread, len(found))
        return found

    def _at(self, params: np.ndarray) -> _Moment:
        odds = self.columns @ params
        risk = np.exp(odds - odds.max())
        return _Moment(risk, self._below(risk))

    def _below(self, weighted: np.ndarray) -> np.ndarray:
        """The sum (deaths,) of weights (n,) over those at risk at each death."""
        left = np.cumsum(weighted[::-1])[::-1][self.first]
        if self.late is not None:
            left = left - np.append(np.cumsum(weighted[self.late][::-1])[::-1], 0.0)[self.absent]
        return left[self.step] - self.gone * self._by_step(weighted[self.dead])[self.step]

    def _mean(self, at: _Moment, values: np.ndarray) -> np.ndarray:
        """The mean (deaths,) of values (n,) over those at risk at each death, by their risk."""
        return self._below(at.risk * values) / at.below

    def _lived(self, values: np.ndarray) -> np.ndarray:
        """The sum (n,) of values of the deaths (deaths,) over those that each image was at risk for."""
        grown = np.append(0.0, np.cumsum(self._by_step(values)))
        return grown[self.known] if self.late is None else grown[self.known] - grown[self.before]

    def _by_step(self, values: np.ndarray) -> np.ndarray:
        """Sums (steps,) of values of the deaths (deaths,)."""
        return np.add.reduceat(values, self.starts)


def concordance(times: np.ndarray, events: np.ndarray, risk: np.ndarray) -> float:
    """Chance that of two images, the one whose event came first has the higher risk (Harrell's C), ties one half.

    Pairs count where the earlier time is an event, or where both times agree and one of them is. O(n log^2 n).
    """
    order = np.lexsort((~events, times))  # at one time those with the event come first
    happened, level = events[order], np.unique(risk, return_inverse=True)[1][order]
    at = np.unique(times[order], return_inverse=True)[1]
    # Of those after an event only those with the event at the very same time do not count.
    upto = np.bincount(at, minlength=at[-1] + 1)
    deaths = np.bincount(at, weights=happened).astype(int)
    compared = int(np.sum(deaths * (at.size - np.cumsum(upto) + upto - deaths)))
    if not compared:
        return float("nan")
    won = _below_later(level, happened) - _below_within(level[happened], at[happened])
    return won / compared


def _below_later(level: np.ndarray, chosen: np.ndarray) -> float:
    """Pairs of a chosen image with one after it of a lower level, ties one half; by merging blocks of 1, 2, 4 ..."""
    pairs, size, place = 0.0, 1, np.arange(level.size)
    span = int(level.max()) + 1
    while size < level.size:
        block = place // (2 * size)
        later = (place // size) % 2 == 1
        keys = block * span + level
        after = np.sort(keys[later])
        asked = keys[~later & chosen]
        start = np.searchsorted(after, block[~later & chosen] * span)
        low, high = np.searchsorted(after, asked, "left"), np.searchsorted(after, asked, "right")
        pairs += float(np.sum(low + high - 2 * start)) / 2
        size *= 2
    return pairs


def _below_within(level: np.ndarray, at: np.ndarray) -> float:
    """Of those with the event, what `_below_later` counts of pairs at one and the same time: half of it each way.

    A pair adds one where the later of it is lower, one half where they tie; which is the later is a matter of order.
    """
    pairs, start = 0.0, np.flatnonzero(np.diff(at, prepend=-1))
    for one, end in zip(start, np.append(start[1:], at.size), strict=True):
        if end - one > 1:
            pairs += _below_later(level[one:end], np.ones(end - one, bool))
    return pairs
