"""One test image made poor and drawn again, by the run and by what needs no learning; and how near each comes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from anomaly.degradations.base import Degraded
from anomaly.errors import RunError, UnreadableImage
from anomaly.images import Image, read
from anomaly.images.prepared import Prepared
from anomaly.restoration.drawing import OwnGrid, holes_of, simulated
from anomaly.restoration.floors import Floors
from anomaly.restoration.placing import turned_back
from anomaly.restorers.degrading import crop
from anomaly.restorers.keeping import pair_of
from anomaly.restorers.scales import Scale, laid_out
from anomaly.runs.run import Run
from anomaly.statistics import fidelity

TRUTH, POOR, RESTORED = "truth", "degraded", "restored"
MEASURES = ("psnr", "ssim", "rmse", "nmse")
RANGE = 2.0
Judge = Callable[[Image], float]
"""Whatever says one number of an image, such as how likely it is a case."""


@dataclass(frozen=True)
class Judged:
    """Versions of one image, scaled as the good one, (S, C, *space) in [-1, 1]: truth, degraded, floors, restored.

    Args:
        versions: by name, the truth first.
        own: the scale of the good image.
        prepared: the good image as it was laid out.
    """

    versions: Mapping[str, np.ndarray]
    own: Scale
    prepared: Prepared


def versions_of(brush: OwnGrid, image: Image, floors: Floors, told: str, good: str | None = None) -> Judged:
    """An image, made poor by the run's degradation or given beside its good one, and drawn again.

    Args:
        brush: the run.
        image: as read: the good one, or the poor one where `good` is given.
        floors: what needs no learning.
        told: what chance follows from.
        good: file of the good image of a pair.
    """
    laid = laid_out(image, brush.run.preprocessing)
    if good is None:
        poor, x, own, seen, known = simulated(image, brush.run.preprocessing, brush.degradation, told, brush.run.folder)
    else:
        (x, poor), own = pair_of(image, read(Path(good)), brush.run.preprocessing)
        seen, known = Scale.none(x.shape[1]), None
    unit = seen.unit.reshape(1, -1, *[1] * (x.ndim - 2))
    drawn = poor + brush.restored(poor, known, seen) * unit
    beside = floors.drawn(Degraded(torch.from_numpy(poor), known))
    found = {TRUTH: x, POOR: poor, **{name: each.numpy() for name, each in beside.items()}, RESTORED: drawn}
    return Judged({name: each.clip(-1, 1) for name, each in found.items()}, own, laid)


def figures(judged: Judged, inside: np.ndarray | None) -> dict[str, float]:
    """How near each version comes to the truth: `restored_psnr` and so on, and of a mask `restored_nmse_inside`.

    PSNR and SSIM are of a range of 2, black to white; RMSE is in the image's own intensities; all are means over
    slices and channels but for PSNR, RMSE and NMSE, which are of all pixels of an image together.
    """
    x = judged.versions[TRUTH]
    own = float(judged.own.unit.mean())
    found: dict[str, float] = {}
    for name, image in judged.versions.items():
        if name == TRUTH:
            continue
        planes = [(a, b) for s in range(len(x)) for a, b in zip(x[s], image[s], strict=True)]
        found[f"{name}_psnr"] = fidelity.psnr(x, image, data_range=RANGE)
        found[f"{name}_ssim"] = float(np.mean([fidelity.ssim(a, b, data_range=RANGE) for a, b in planes]))
        found[f"{name}_rmse"] = fidelity.rmse(x, image) * own
        found[f"{name}_nmse"] = fidelity.normalised_error(x, image, black=-1)
        if inside is not None:
            there = np.broadcast_to(inside, x.shape)
            found[f"{name}_nmse_inside"] = fidelity.normalised_error(x, image, black=-1, inside=there)
    return found


def inside_of(image: Image, brush: OwnGrid, space: tuple[int, ...]) -> np.ndarray | None:
    """Where an image's mask lies, (S, 1, *space) bool, cropped as the image is; None where it has none.

    Raises:
        UnreadableImage: nothing of it is left.
    """
    if image.mask is None:
        return None
    found: np.ndarray = crop(holes_of(image, brush.run.preprocessing), space)
    if not found.any():
        raise UnreadableImage(f"{image.path}: its mask lies beyond what is left of the image on whole steps")
    return found


def asked_of(judge: Judge, judged: Judged, image: Image, names: tuple[str, ...]) -> dict[str, float]:
    """What a judge says of the versions of an image, in its own intensities: `restored_judged` and so on."""
    told: dict[str, float] = {}
    for name in names:
        values, frame = turned_back(judged.own.values(judged.versions[name]), image, judged.prepared)
        told[f"{name}_judged"] = float(judge(replace(image, pixels=values, affine=frame.affine, mask=None)))
    return told


def open_judge(folder: Path | str, device: str) -> Run:
    """A run of a detector that can be asked of images as they are.

    Raises:
        RunError: it is no run of a detector, or one that needs masks.
    """
    run = Run.open(folder, device=device)
    if run.preprocessing.mask == "given":
        raise RunError(f"{folder} was trained with masks; give a judge that needs none")
    return run


def judge_of(run: Run) -> Judge:
    """The value of a detector's run as a judge, in the mean over slices."""

    def value(image: Image) -> float:
        return float(run.judge(run.preprocessing.apply(image).pixels).value.mean())

    return value
