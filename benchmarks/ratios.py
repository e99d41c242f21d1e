"""Two sides of a comparison that take turns, so that a machine whose speed drifts drifts for both."""

import time
from collections.abc import Callable
from statistics import median

PAIRS = 5


def taking_turns(ours: Callable[[], float], other: Callable[[], float], pairs: int = PAIRS) -> dict[str, float]:
    """Medians of the seconds that each side tells and of other over ours: above 1 ours is faster. One pair first."""
    times = [(ours(), other()) for _ in range(pairs + 1)][1:]
    ratios = [there / here for here, there in times]
    return {
        "ratio": round(median(ratios), 3), "lowest": round(min(ratios), 3), "highest": round(max(ratios), 3),
        "seconds": round(median(here for here, _ in times), 3),
        "seconds_other": round(median(there for _, there in times), 3),
    }  # fmt: skip


def timed(side: Callable[[], object]) -> Callable[[], float]:
    """The same, telling how many seconds it took."""

    def run() -> float:
        begun = time.perf_counter()
        side()
        return time.perf_counter() - begun

    return run
