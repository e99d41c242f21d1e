"""Workers that come late, cannot do the work, or go: who is left out, and how the work goes on or ends."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from distributed import Client, LocalCluster, get_worker

from anomaly.clusters import crew, hand, working
from anomaly.clusters.cluster import Cluster
from anomaly.clusters.crew import Crew
from anomaly.clusters.working import Fitness, versions
from anomaly.errors import ClusterError

STRANGERS: dict[int, str] = {}
"""What workers say of themselves, by their names, which are numbers in the order in which they came."""
Home = tuple[LocalCluster, Client]


def choosy(fitness: Fitness) -> str:
    """Why the worker that is asked is unfit, as `STRANGERS` has it."""
    name = get_worker().name
    if STRANGERS.get(name) == "absent":
        raise ModuleNotFoundError("No module named 'anomaly'")
    return STRANGERS.get(name, "")


@dataclass(frozen=True)
class By:
    """Says of each number who took it, and takes its time."""

    seconds: float = 0.02

    def open(self, threads: int) -> Callable[[Sequence[int]], list[tuple[int, int]]]:
        def took(numbers: Sequence[int]) -> list[tuple[int, int]]:
            time.sleep(self.seconds)
            return [(number, get_worker().name) for number in numbers]

        return took


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A cluster of one worker, called 0; all in this process, so that workers come and go at once."""
    monkeypatch.setattr(crew, "LOOK", 0.02)
    monkeypatch.setattr(hand, "LOOK", 0.05)
    monkeypatch.setattr(crew, "unfit", choosy)
    STRANGERS.clear()
    working._open.update(task=None, work=None)
    options = {"processes": False, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    with LocalCluster(n_workers=1, **options) as begun, Client(begun, set_as_default=False) as client:
        yield begun, client


def working_with(home: Home, folder: Path, wait: float = 30.0) -> Cluster:
    (folder / "probe").write_text("a")
    found = Crew(home[1], Fitness(versions(), str(folder / "probe"), "a", ()), wait)
    found.begin()
    return Cluster(home[1], 1, found)


def leave(home: Home, name: int) -> None:
    """Have a worker go, and nobody come for it."""
    worker = home[0].workers.pop(name)
    home[0].worker_spec.pop(name)
    home[0].sync(worker.close, nanny=False)


def come(home: Home, count: int) -> None:
    """Have workers come until there are so many."""
    home[0].scale(count)
    home[1].wait_for_workers(count, timeout=30)


@pytest.mark.parametrize(
    ("says", "told"),
    [("has anomaly 9.9, expected 1.0", "has anomaly 9.9, expected 1.0"), ("absent", "does not run this program")],
)
def test_an_unfit_worker_that_comes_late_is_named_once_and_left_out(home, tmp_path, caplog, says, told):
    STRANGERS[1] = says
    kept: list[tuple[int, int]] = []

    def keep(result: tuple[int, int]) -> None:
        kept.append(result)
        if len(kept) == 3:
            come(home, 2)
            time.sleep(0.1)

    with caplog.at_level(logging.WARNING, "anomaly.clusters.crew"):
        working_with(home, tmp_path).each(By(), [[number] for number in range(40)], keep)
    assert kept == [(number, 0) for number in range(40)]
    (said,) = (record.getMessage() for record in caplog.records if record.name == crew.__name__)
    assert told in said and said.endswith("; it is left out, the others go on")


def test_a_fit_worker_that_comes_late_has_work(home, tmp_path, monkeypatch):
    kept: list[tuple[int, int]] = []
    out: list[int] = []
    submit = home[1].submit

    def counted(function: Callable[..., object], *given: object, **options: object) -> object:
        if function is working.done:
            out.append(len(out) + 1 - len(kept))
        return submit(function, *given, **options)

    monkeypatch.setattr(home[1], "submit", counted)

    def keep(result: tuple[int, int]) -> None:
        kept.append(result)
        if len(kept) == 3:
            come(home, 2)

    working_with(home, tmp_path).each(By(), [[number] for number in range(60)], keep)
    assert [number for number, _ in kept] == list(range(60)) and {name for _, name in kept} == {0, 1}
    assert max(out[:4]) == hand.AHEAD and max(out) == 2 * hand.AHEAD


def test_where_no_fit_worker_is_left_the_last_one_is_named_and_what_was_done_is_kept(home, tmp_path):
    STRANGERS[1] = "cannot read run; runs and images have to lie on a shared disk"
    kept: list[tuple[int, int]] = []

    def keep(result: tuple[int, int]) -> None:
        kept.append(result)
        if len(kept) == 3:
            come(home, 2)
            leave(home, 0)

    told = r"no worker that can do this was there for 0\.5 s; the last was inproc.* cannot read run;.* goes on$"
    with pytest.raises(ClusterError, match=told):
        working_with(home, tmp_path, wait=0.5).each(By(), [[number] for number in range(400)], keep)
    assert kept == [(number, 0) for number in range(len(kept))] and 3 <= len(kept) < 400


def test_where_all_workers_are_gone_it_ends(home, tmp_path):
    kept: list[tuple[int, int]] = []
    with pytest.raises(ClusterError, match=r"no worker .* was there for 0\.3 s; look at the queue"):
        working_with(home, tmp_path, wait=0.3).each(
            By(), [[number] for number in range(40)], lambda result: (kept.append(result), leave(home, 0))[0]
        )
    assert kept and kept == [(number, 0) for number in range(len(kept))]


def test_chunks_of_workers_that_are_gone_go_to_those_that_come(home, tmp_path):
    kept: list[tuple[int, int]] = []
    found = working_with(home, tmp_path)
    before = set(found.crew.fit)

    def keep(result: tuple[int, int]) -> None:
        kept.append(result)
        if len(kept) == 3:
            leave(home, 0)
            home[0].scale(1)

    found.each(By(), [[number] for number in range(30)], keep)
    assert [number for number, _ in kept] == list(range(30)) and found.crew.fit.isdisjoint(before)


def test_chunks_that_nobody_survives_end_the_work(home, tmp_path, monkeypatch):
    monkeypatch.setattr(hand, "AGAIN", 0)
    with pytest.raises(ClusterError, match=r"images were with 1 workers that were killed or lost .*--batch"):
        working_with(home, tmp_path).each(By(), [[number] for number in range(30)], lambda _: leave(home, 0))


def test_a_worker_that_changed_after_it_was_asked_says_so_itself(home, tmp_path, monkeypatch, caplog):
    come(home, 2)
    monkeypatch.setattr(working, "unfit", lambda _: "has torch 1" if get_worker().name == 1 else "")
    monkeypatch.setitem(working._open, "task", None)
    kept: list[tuple[int, int]] = []
    found, opened = working_with(home, tmp_path), working.done

    def done(task: By, chunk: Sequence[int], threads: int, fitness: Fitness) -> list[tuple[int, int]]:
        with working.turns:  # type: ignore[attr-defined]  # two workers of one process share what is open
            if get_worker().name == 1:
                working._open["task"] = None
            return opened(task, chunk, threads, fitness)

    monkeypatch.setattr(working, "turns", threading.Lock(), raising=False)  # a lock of this module could not travel
    monkeypatch.setattr("anomaly.clusters.cluster.done", done)
    found.each(By(), [[number] for number in range(20)], kept.append)
    assert kept == [(number, 0) for number in range(20)]
    assert caplog.text.count("has torch 1; it is left out") == 1 and found.workers == 1


def test_one_that_is_unfit_at_the_beginning_is_refused(home, tmp_path):
    STRANGERS[0] = "has python 2"
    with pytest.raises(ClusterError, match=r"1 of 1 workers cannot do this; inproc.* has python 2"):
        working_with(home, tmp_path)


def test_workers_that_do_not_answer_are_told(home, tmp_path):
    busy = home[1].submit(time.sleep, 2, pure=False)
    while busy.key not in home[0].scheduler.tasks or not home[0].scheduler.tasks[busy.key].processing_on:
        time.sleep(0.01)
    with pytest.raises(ClusterError, match=r"no worker of the cluster answers within 0\.2 s"):
        working_with(home, tmp_path, wait=0.2)


def test_chunks_wait_where_nobody_is_there_for_a_while(home):
    """Nothing is out, and yet not all is done: the chunks that nobody has had are not forgotten."""
    client = home[1]
    (address,) = client.scheduler_info()["workers"]

    class Late:
        client, fit, looks = home[1], frozenset[str](), 0

        def look(self) -> None:
            self.looks += 1
            self.fit = frozenset({address} if self.looks > 2 else ())

    def send(chunk: list[int], workers: Collection[str]) -> object:
        return client.submit(list, chunk, workers=list(workers), pure=False)

    assert list(hand.Hand(Late(), send, enumerate([[1], [2], [3]]))) == [[1], [2], [3]]  # type: ignore[arg-type]
