"""Two long-lived processes that make mutants and push them through the doors, and who watches over them."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import resource
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing.connection import Connection, wait
from pathlib import Path

import numpy as np

from benchmarks import mutant_forms as forms
from benchmarks.mutant_bytes import Change, any_change, text_change
from benchmarks.mutant_seeds import Seed

SECONDS, WAITING, BYTES = 5.0, 120.0, 10**9
"""Of processor time, and by the clock, that a mutant may take, and the memory."""
HANDED_OUT = 100
CHANGES: dict[str, Change] = {
    "bytes": any_change, "text": text_change, "JSON": forms.json_change,
    "gzip bytes": forms.gzipped(any_change), "gzip text": forms.gzipped(text_change),
    "nifti field": forms.nifti_field, "gzip nifti field": forms.gzipped(forms.nifti_field),
    "mgh field": forms.mgh_field, "gzip mgh field": forms.gzipped(forms.mgh_field),
    "DICOM element": forms.dicom_element, "PNG chunk": forms.png_chunk, "JPEG size": forms.jpeg_size,
    "TIFF tag": forms.tiff_tag, "npy header": forms.npy_header, "npz inside": forms.npz_inside,
    "safetensors header": forms.safetensors_header, "safetensors values": forms.safetensors_values,
    "header lines": forms.header_lines,
}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of one mutant: its number, how it was changed, the class of its outcome, and the words."""

    number: int
    change: str
    result: str
    told: str = ""


def mutant(seeds: list[Seed], seed: int, number: int) -> tuple[Seed, dict[str, bytes], str, str]:
    """Mutant number k of a seed, always the same: what it was made of, its files, which is damaged, and by what."""
    rng = np.random.default_rng([seed, number])
    source = seeds[number % len(seeds)]
    target = source.targets[rng.integers(len(source.targets))]
    change = source.changes[rng.integers(len(source.changes))]
    return source, {**source.files, target: CHANGES[change](source.files[target], rng)}, target, change


@dataclass
class _Worker:
    process: multiprocessing.process.BaseProcess
    pipe: Connection
    left: list[int]
    since: float
    spent: float = 0.0
    ready: bool = False


def outcomes(seeds: list[Seed], seed: int, count: int, processes: int = 2) -> Iterator[Outcome]:
    """Push mutants 0 to count - 1 through their doors; one that hangs or dies costs its process, which is replaced."""
    numbers = iter(range(count))
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "seeds.pickle"
        file.write_bytes(pickle.dumps(seeds))
        workers = [_started(file, seed, _share(numbers)) for _ in range(processes)]
        while workers:
            wait([worker.pipe for worker in workers], timeout=0.2)
            for place_of, worker in enumerate(workers):
                found, lost = _heard(worker)
                yield from found
                if lost:
                    yield Outcome(worker.left[0], "", lost)
                    workers[place_of] = _started(file, seed, worker.left[1:])
                elif worker.ready and not worker.left:
                    worker.left = _share(numbers)
                    worker.pipe.send(worker.left)
                    worker.since = time.monotonic()
            for worker in [one for one in workers if one.ready and not one.left]:
                worker.process.join()
                workers.remove(worker)


def _share(numbers: Iterator[int]) -> list[int]:
    return list(islice(numbers, HANDED_OUT))


def _started(file: Path, seed: int, numbers: list[int]) -> _Worker:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_work, args=(file, seed, theirs), daemon=True)
    process.start()
    theirs.close()
    ours.send(numbers)
    return _Worker(process, ours, numbers, time.monotonic())


def _heard(worker: _Worker) -> tuple[list[Outcome], str]:
    """What a process has told since, and whether it hangs ("hang") or died ("crash"), which ends it."""
    found = []
    try:
        while worker.pipe.poll():
            told = worker.pipe.recv()
            worker.since, worker.spent = time.monotonic(), _spent(worker)
            if isinstance(told, Outcome):
                worker.left.remove(told.number)
                found.append(told)
            worker.ready = True
    except (EOFError, OSError):
        return found, _ended(worker, "crash")
    waited = time.monotonic() - worker.since
    late = waited > WAITING or (waited > SECONDS and worker.ready and _spent(worker) - worker.spent > SECONDS)
    return found, _ended(worker, "hang") if late and worker.left else ""


def _spent(worker: _Worker) -> float:
    """Seconds of processor time, which no other program on the machine lengthens."""
    fields = Path(f"/proc/{worker.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _ended(worker: _Worker, why: str) -> str:
    if not worker.ready:
        raise RuntimeError("a process of the benchmark did not start")
    worker.process.kill()
    worker.process.join()
    worker.pipe.close()
    return why


def _work(file: Path, seed: int, pipe: Connection) -> None:
    """One of the processes: make mutants as they are asked for, and tell what became of each."""
    from benchmarks.mutant_doors import DOORS, classed, quiet  # only here: the watcher needs none of it

    quiet()
    seeds: list[Seed] = pickle.loads(file.read_bytes())
    with tempfile.TemporaryDirectory(dir=file.parent) as place:  # which the watcher clears away
        pipe.send("ready")
        while numbers := pipe.recv():
            for number in numbers:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    source, files, damaged, change = mutant(seeds, seed, number)
                _lay(Path(place), files)
                door = partial(DOORS[source.door], Path(place) / (damaged if source.opened == "*" else source.opened))
                pipe.send(Outcome(number, f"{change} of {damaged}", *_judged(door, classed)))


def _lay(folder: Path, files: dict[str, bytes]) -> None:
    for old in folder.iterdir():
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _judged(door: Callable[[], str], classed: Callable[[Exception], tuple[str, str]]) -> tuple[str, str]:
    """Call a door with a limit on memory, and say what came of it."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + BYTES, hard))
    begun = time.process_time()
    try:
        result = "fine", door()
    except Exception as error:
        result = classed(error)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    late = time.process_time() - begun > SECONDS
    return ("hang", result[1]) if late else result
