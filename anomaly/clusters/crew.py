"""Who works: every worker is asked whether it is fit as it comes, and chunks go to those alone that are."""

import logging
import time
from concurrent.futures import CancelledError
from typing import Any

from anomaly.clusters.working import Fitness, unfit
from anomaly.errors import ClusterError

logger = logging.getLogger(__name__)
LOOK = 1.0
"""Seconds between two looks at who is there."""
ANSWER = 20.0
"""Seconds in which a scheduler or a worker that is there answers."""
GO_ON = "what was done is kept, the same command goes on"


class Crew:
    """The workers of a cluster, by what was found of them.

    Args:
        client: of the scheduler.
        fitness: what every worker has to be and to see.
        wait: seconds that the first fit worker may take to come, and the next one where all have gone.
    """

    def __init__(self, client: Any, fitness: Fitness, wait: float) -> None:
        from distributed import as_completed

        self.client, self.fitness, self.wait = client, fitness, wait
        self.fit: set[str] = set()
        self.unfit: dict[str, str] = {}
        self._asked: dict[str, Any] = {}
        self._answers = as_completed(with_results=True, loop=client.loop)
        self._there: set[str] = set()
        self._looked = float("-inf")
        self._alone: float | None = None
        self._last = ""

    def begin(self) -> None:
        """Ask the workers that are there now.

        Raises:
            ClusterError: one is unfit, or none answers.
        """
        begun = time.monotonic()
        while True:
            self._look()
            passed = time.monotonic() - begun
            if (self._there and not self._asked) or (self.fit and passed > ANSWER) or passed > self.wait:
                break
            time.sleep(0.02)
        if self.unfit:
            worker, reason = min(self.unfit.items())
            raise ClusterError(f"{len(self.unfit)} of {len(self._there)} workers cannot do this; {worker} {reason}")
        if not self.fit:
            raise ClusterError(f"no worker of the cluster answers within {self.wait:g} s; begin others")
        logger.debug("asked %d workers in %.1f s", len(self.fit), passed)

    def look(self) -> None:
        """See who came, who went and who has answered, now and then; an unfit worker is named, once, and left out.

        Raises:
            ClusterError: nobody who can do the work has been there for `wait` seconds, or the scheduler is silent.
        """
        now = time.monotonic()
        if now - self._looked < LOOK:
            return
        known = set(self.unfit)
        self._look()
        self._looked = time.monotonic()
        for worker in sorted(set(self.unfit) - known):
            logger.warning("worker %s %s; it is left out, the others go on", worker, self.unfit[worker])
        self._refuse_none(now)

    def leave_out(self, worker: str, reason: str) -> None:
        """Give nothing more to a worker that said of itself that it is unfit."""
        if worker not in self.unfit:
            logger.warning("worker %s %s; it is left out, the others go on", worker, reason)
        self._judge(worker, reason)

    def _look(self) -> None:
        running = self._running()
        self.fit &= self._there
        for known in (self.unfit, self._asked):
            for worker in [each for each in known if each not in self._there]:
                del known[worker]
        for worker in sorted(running - self.fit - self.unfit.keys() - self._asked.keys()):
            self._asked[worker] = self.client.submit(unfit, self.fitness, workers=[worker], pure=False)
            self._answers.add(self._asked[worker])
        for answer, said in self._answers.next_batch(block=False):
            for worker in [each for each, asked in self._asked.items() if asked is answer]:
                self._heard(worker, answer, said)

    def _running(self) -> set[str]:
        """Workers that take work; all that the scheduler knows are there."""
        try:
            told = self.client.sync(self.client.scheduler.identity, n_workers=-1, callback_timeout=ANSWER)["workers"]
        except (TimeoutError, UnboundLocalError):  # what `sync` of distributed 2026.8 does where it ends just in time
            raise ClusterError(f"the scheduler of the cluster does not answer within {ANSWER:g} s; {GO_ON}") from None
        except (OSError, CancelledError):  # a line that is broken is mended, or what is out is lost, which is told
            return set()
        self._there = set(told)
        return {worker for worker, about in told.items() if about.get("status", "running") == "running"}

    def _heard(self, worker: str, answer: Any, said: Any) -> None:
        from distributed import KilledWorker

        del self._asked[worker]
        if answer.status == "finished":
            self._judge(worker, said)
        elif answer.status == "error" and not isinstance(said[1], KilledWorker):  # else it went, or is asked again
            reason = f"does not run this program ({said[1]}); install there what is installed here"
            self._judge(worker, reason)  # whatever a worker without it says of it

    def _judge(self, worker: str, reason: str) -> None:
        if not reason:
            self.fit.add(worker)
            return
        self.fit.discard(worker)
        self.unfit[worker] = reason
        self._last = f"{worker} {reason}"

    def _refuse_none(self, now: float) -> None:
        if self.fit:
            self._alone = None
            return
        if self._alone is None:
            self._alone = now
            logger.warning("no worker is left that can do this; waiting up to %g s for one", self.wait)
        if now - self._alone >= self.wait:
            told = f"the last was {self._last}" if self._last else "look at the queue, or begin some with `dask worker`"
            raise ClusterError(f"no worker that can do this was there for {self.wait:g} s; {told}; {GO_ON}")
