"""Work done ahead: in order, never too far ahead, and stopped with its reader."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from anomaly.streams import ordered


def test_results_come_in_the_order_of_the_items():
    def slow_first(i: int) -> int:
        time.sleep(0.02 if i == 0 else 0)
        return i * i

    with ThreadPoolExecutor(4) as pool:
        assert list(ordered(pool, slow_first, range(20), ahead=5)) == [i * i for i in range(20)]


@pytest.mark.parametrize("ahead", [1, 3])
def test_never_more_than_ahead_results_wait(ahead):
    started, lock = 0, threading.Lock()

    def work(i: int) -> int:
        nonlocal started
        with lock:
            started += 1
        return i

    with ThreadPoolExecutor(4) as pool:
        most = 0
        for taken, _ in enumerate(ordered(pool, work, range(40), ahead=ahead), start=1):
            time.sleep(0.001)  # the pool has all the time it needs to run ahead
            most = max(most, started - taken)
    assert most == ahead - 1
    assert started == 40


def test_nothing_to_do_gives_nothing():
    with ThreadPoolExecutor(1) as pool:
        assert list(ordered(pool, str, [], ahead=3)) == []


def test_an_error_comes_at_its_place_and_ends_the_work():
    started = []

    def work(i: int) -> int:
        started.append(i)
        if i == 2:
            raise OSError("no space")
        return i

    got = []
    with ThreadPoolExecutor(1) as pool, pytest.raises(OSError, match="no space"):
        for result in ordered(pool, work, range(1000), ahead=4):
            got.append(result)
    assert got == [0, 1]
    assert len(started) <= 6


def test_a_reader_that_leaves_stops_the_work():
    started = []
    with ThreadPoolExecutor(1) as pool:
        results = ordered(pool, started.append, range(1000), ahead=4)
        next(results)
        results.close()
    assert len(started) <= 4
