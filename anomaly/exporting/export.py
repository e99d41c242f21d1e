"""A run for programs that know nothing of this one: an ONNX graph, how images are prepared, what results mean."""

from collections.abc import Sequence
from pathlib import Path

from anomaly.errors import AnomalyError, RunError
from anomaly.exporting.judgement import Judgement
from anomaly.exporting.judging import of_detector, of_detectors
from anomaly.exporting.segmenting import of_segmenters, open_segmenters
from anomaly.exporting.writing import Exported, refuse_place, written
from anomaly.runs.facts import CLASSIFIER, DETECTOR, EXPLAINER, MADE_BY, SEGMENTER, A, expect, kind_of, read_facts
from anomaly.runs.run import Run

WITHIN = "onnx"
"""Where a single run is written to, if nothing is said: a folder in the run's own."""


def export(
    run: Path | str | Sequence[Path | str],
    out: Path | str | None = None,
    *,
    method: str | None = None,
    size: int | Sequence[int] | None = None,
) -> Exported:
    """Write a run as an ONNX model, with all that is needed to use it without this program.

    The model takes prepared images (n, C, *space), float32 in [-1, 1], as many as are given. Of a detector it says
    `value`, `map` (both as the detector gives them) and `map_z` (in standard deviations of held-out normals); of
    several detectors `value_1`, `value_2`, ... and the mean `map_z`; of segmenters `probabilities`. Beside it lie how
    images are prepared and what a value means (`preprocessing.json`), made images with what is expected of them
    (`example.npz`; no person's), and a script that uses it (`score.py`). Classifiers and explainers are exported
    by `anomaly export` on the command line.

    Args:
        run: folder of a trained detector or segmenter; several are one judge, as `score` and `segment` take them.
        out: folder to make; None takes `onnx` within the run, of one run.
        method: FILE.py:CLASS again, for a user's own method.
        size: pixels along each axis, for a segmenter of images of any size.

    Raises:
        MissingPackage: onnx is not installed.
        AnomalyError: the method cannot be written as a graph (it takes a gradient or draws random numbers when it
            scores), or the graph says something else than the run; nothing is written then. Or the folder is there.
        RunError: the run cannot be used, or is of a kind that is not exported.
    """
    folders = [Path(run)] if isinstance(run, str | Path) else [Path(each) for each in run]
    out = place_of(folders, out)
    refuse_place(out)
    kind = kind_of(read_facts(folders[0]))
    for folder in folders[1:]:
        expect(folder, read_facts(folder), kind)
    return written(_judged(folders, kind, method, [size] if isinstance(size, int) else size), out)


def place_of(folders: Sequence[Path], out: Path | str | None) -> Path:
    """The folder to make.

    Raises:
        AnomalyError: several runs and no folder, or no run.
    """
    if not folders:
        raise RunError("no run was given to export")
    if out is None and len(folders) > 1:
        raise AnomalyError("several runs lie in none of their folders; say where with --out")
    return folders[0] / WITHIN if out is None else Path(out)


def _judged(folders: Sequence[Path], kind: str, method: str | None, size: Sequence[int] | None) -> Judgement:
    """What they say.

    Raises:
        RunError: they are of another kind, or take no size.
    """
    if kind in (CLASSIFIER, EXPLAINER):
        raise RunError(
            f"{folders[0]} holds {A[kind]}; {A[kind]} is exported by `anomaly export` on the command line; "
            "this takes detectors and segmenters"
        )
    if kind == SEGMENTER:
        if method is not None:
            raise RunError("--method is of detectors and explainers of your own; segmenters have none")
        return of_segmenters(open_segmenters(folders), size)
    if kind != DETECTOR:
        raise RunError(
            f"{folders[0]} holds {A[kind]}, which is not exported: it draws images on the grid of their files; use it "
            f"by `anomaly {MADE_BY[kind].split()[0]}`"
        )
    if size is not None:
        raise RunError(f"{folders[0]} takes images of the size it was trained with; leave --size out")
    runs = [Run.open(folder, method=method) for folder in folders]
    return of_detector(runs[0]) if len(runs) == 1 else of_detectors(runs)
