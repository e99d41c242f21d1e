"""Any run for programs that know nothing of this one: classifiers and explainers here, all others below."""

from collections.abc import Sequence
from pathlib import Path

from anomaly.errors import RunError
from anomaly.exporting.export import export as detectors_and_segmenters
from anomaly.exporting.export import place_of
from anomaly.exporting.writing import Exported, refuse_place, written
from anomaly.runs.facts import CLASSIFIER, EXPLAINER, A, kind_of, read_facts
from explain.exporting.judging import of_classifier, of_explainer
from explain.runs.run import LearnedRun
from explain.runs.source import open_source


def export(
    run: Path | str | Sequence[Path | str],
    out: Path | str | None = None,
    *,
    method: str | None = None,
    size: int | Sequence[int] | None = None,
) -> Exported:
    """Write a run of any kind that can be as an ONNX model, with all that is needed to use it elsewhere.

    The model takes prepared images (n, C, *space), float32 in [-1, 1], as many as are given. Of a classifier it says
    `logit` and `probability`; of an explainer `counterfactual`, `map` and `change`, and `field` or `spread` where the
    method has them; of others see `anomaly.export`, which writes the same files.

    Args:
        run: folder of a classifier, a trained explainer, a detector or a segmenter; several of the latter two.
        out: folder to make; None takes `onnx` within the run, of one run.
        method: FILE.py:CLASS again, for a detector or an explainer of your own.
        size: pixels along each axis, for a segmenter of images of any size.

    Raises:
        MissingPackage: onnx is not installed.
        AnomalyError: the method cannot be written as a graph (it searches, or takes gradients or chance when it
            explains), or the graph says something else than the run; nothing is written then. Or the folder is there.
        RunError: the run cannot be used, or is of a kind that is not exported.
    """
    folders = [Path(run)] if isinstance(run, str | Path) else [Path(each) for each in run]
    out = place_of(folders, out)
    kinds = [kind_of(read_facts(folder)) for folder in folders]
    learned = [kind for kind in kinds if kind in (CLASSIFIER, EXPLAINER)]
    if not learned:
        return detectors_and_segmenters(folders, out, method=method, size=size)
    if len(folders) > 1:
        raise RunError(f"{A[learned[0]]} is no judge with others: export each run by itself")
    if size is not None:
        raise RunError(f"{folders[0]} takes images of the size it was trained with; leave --size out")
    refuse_place(out)
    if learned == [EXPLAINER]:
        return written(of_explainer(open_source(folders[0], method=method, device="cpu")), out)
    if method is not None:
        raise RunError("--method is of detectors and explainers of your own; classifiers have none")
    return written(of_classifier(LearnedRun.open(folders[0], CLASSIFIER)), out)
