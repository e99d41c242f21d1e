"""What is kept of one explained image: a row of figures, and its map, counterfactual, field and pictures as files."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nibabel.orientations import io_orientation

from anomaly.images import Image, write_volume
from anomaly.images.fields import field_in_mm, write_field
from anomaly.images.image import located
from anomaly.images.prepared import Prepared
from anomaly.images.redrawn import changed, write_redrawn
from anomaly.nets.fields import log_jacobian
from anomaly.pictures.pages import View, views
from anomaly.runs.facts import CLASSIFIER
from explain.base import Explanation, Walk
from explain.pictures.pictures import save_figure
from explain.pictures.walks import Told, Walked, save_walk
from explain.runs.given import TargetRun

FOLDER = "maps"
OUTPUTS = ("auto", "nifti", "png", "none")
ALIKE = 0.1
"""A walk ends at a frame if its change differs by less than this share from the map."""
SAME = 1e-3
"""A frame is the counterfactual if no value of them differs by more, of a range of 2: less than a grey value."""


@dataclass(frozen=True)
class Record:
    """The explanation of one image, on the grid a network saw, as arrays with an axis of slices in front.

    Args:
        map: (S, 1, *size).
        change: image minus counterfactual, (S, C, *size); None where none is drawn.
        field: (S, dims, *size) in pixels; None where nothing moves.
        spread: (S, 1, *size); None where there is one draw.
        figures: for the table, by name.
        walk: what is drawn of the walk; None where there is none, or nothing is drawn.
    """

    map: np.ndarray
    change: np.ndarray | None
    field: np.ndarray | None
    spread: np.ndarray | None
    figures: Mapping[str, float]
    walk: Walked | None = None


class Walks:
    """The walks that are drawn of a batch of images: of each a picture or a slice, of slices the one that changes most.

    It is fed with walks as they come and lets go of what is not drawn, so that no more frames are held than a pass
    through the networks makes.

    Args:
        images: as read.
        prepared: as the networks take them.
        target: what the values of the walks are of.
    """

    def __init__(self, images: Sequence[Image], prepared: Sequence[Prepared], target: TargetRun | None) -> None:
        self.images, self.prepared = images, prepared
        self.told = Told() if target is None else Told(target.threshold, target.kind == CLASSIFIER)
        self._kept: dict[int, tuple[float, Walked]] = {}
        self._places = deque((i, s) for i, each in enumerate(prepared) for s in range(len(each.pixels)))

    def add(self, explanation: Explanation, before: np.ndarray | None, after: np.ndarray | None) -> None:
        """Take the walks of the next images or slices, with the target (N,) of the images and their counterfactuals."""
        walk, map = explanation.walk, explanation.map
        assert walk is not None
        found: dict[int, tuple[float, int, int]] = {}
        for k in range(len(map)):
            i, s = self._places.popleft()
            found[i] = max(found.get(i, (-1.0, 0, 0)), (_size(walk, k), k, s))
        for i, (size, k, s) in found.items():
            if i not in self._kept or size > self._kept[i][0]:
                walked = _walked(explanation, k, self.images[i], self.prepared[i], s)
                value, saved = (None if each is None else float(each[k]) for each in (before, after))
                self._kept[i] = size, replace(walked, told=self.told, value=value, counterfactual_value=saved)

    def of(self, i: int) -> Walked | None:
        """What is drawn of image i; None where nothing walked."""
        return self._kept[i][1] if i in self._kept else None


def wanted(outputs: Sequence[str]) -> set[str]:
    """What is to be written, "nifti" and "png", none of them or both."""
    return {"nifti", "png"} if "auto" in outputs else set(outputs) - {"none"}


def write_record(
    folder: Path,
    about: Mapping[str, Any],
    image: Image,
    prepared: Prepared,
    record: Record,
    *,
    outputs: Sequence[str],
    limit: float,
    by: str = "",
    remark: str = "",
) -> list[str]:
    """Write the files of one image, on the source grid, and name them relative to the folder.

    Maps are in units of the prepared images, whose range is 2, or of the target; the counterfactual is in the
    image's own intensities: the image less the change, brought to its grid, so that it keeps its details.

    Args:
        folder: gets `maps/`.
        about: id and whatever the picture is to say.
        image: as read.
        prepared: as the network took it.
        record: what was found.
        outputs: "nifti" (map, counterfactual, field, spread), "png" (the figure, and the walk where there is one, as
            a strip and as a GIF), "auto" (both), "none".
        limit: where the colours of the map end.
        by: what explains, for the title of the figure, which names the image behind it.
        remark: a sentence below the figure.
    """
    kinds = wanted(outputs)
    if not kinds:
        return []
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    stem = f"{FOLDER}/{about['id']}"
    map = prepared.restore(record.map)
    drawn = None if record.change is None else changed(image, prepared, record.change)
    title = ": ".join(filter(None, (by, str(about["id"]))))
    names: list[str] = []
    if "nifti" in kinds:
        names.append(f"{stem}_map.nii.gz")
        write_volume(folder / names[-1], map, image.frame)
        if drawn is not None:
            names.append(f"{FOLDER}/{write_redrawn(folder / f'{stem}_counterfactual', image, drawn).name}")
        if record.field is not None:
            names.append(f"{stem}_field.nii.gz")
            field = record.field if prepared.sliced is not None else record.field[0]
            write_field(folder / names[-1], field_in_mm(field, prepared, image.frame), image.frame)
        if record.spread is not None:
            names.append(f"{stem}_spread.nii.gz")
            write_volume(folder / names[-1], prepared.restore(record.spread), image.frame)
    if "png" in kinds:
        names.append(f"{stem}.png")
        save_figure(
            folder / names[-1], image.pixels.mean(0), map=map, affine=image.affine, title=title,
            counterfactual=None if drawn is None else drawn.mean(0), limits=limit,
            footer=" ".join(filter(None, (remark, _footer(about, None if record.walk is None else record.walk.told)))),
            spread=None if record.spread is None else prepared.restore(record.spread),
            **_moving(prepared, record.field),
        )  # fmt: skip
        if record.walk is not None:
            walked = save_walk(folder / stem, record.walk, limit=limit, title=title)
            names += [f"{FOLDER}/{path.name}" for path in walked]
    return names


def _size(walk: Walk, k: int) -> float:
    """How much image k of a batch changes, on the whole of its walk."""
    frames = walk.frames[k]
    return float((frames - frames[int(walk.steps[k].abs().argmin())]).abs().mean())


def _walked(explanation: Explanation, k: int, image: Image, prepared: Prepared, s: int) -> Walked:
    """What is drawn of the walk of image k of a batch, which is slice s of an image."""
    walk, map, saved = explanation.walk, _numpy(explanation.map[k]), explanation.counterfactual
    assert walk is not None
    steps, values, frames = (_numpy(each[k]) for each in (walk.steps, walk.values, walk.frames))
    changes = (frames[np.abs(steps).argmin()] - frames).mean(1)
    gaps, size = np.square(changes - map).reshape(len(frames), -1).mean(1), np.square(map).mean()
    nearest = int(gaps.argmin())
    drawn = None if saved is None else _numpy(saved[k])
    other = drawn is not None and float(np.abs(drawn - frames[nearest]).max()) > SAME
    view = _view(np.abs(changes).mean(0), image, prepared, s)
    colours = frames.shape[1] == 3 and image.kind in ("picture", "dicom")

    def seen(channels: np.ndarray) -> np.ndarray:
        """(C, *space) to (rows, columns), or (rows, columns, 3) in colours; a copy, so that no volume is held."""
        return np.stack([view.cut(each) for each in channels], -1) if colours else view.cut(channels.mean(0)).copy()

    return Walked(
        image=seen(prepared.pixels[s]),
        frames=np.stack([seen(frame) for frame in frames]),
        steps=steps,
        values=values,
        view=replace(view, cut=lambda values: values),
        end=nearest if gaps[nearest] < ALIKE**2 * size else None,
        counterfactual=seen(drawn) if drawn is not None and other else None,
    )


def _view(changes: np.ndarray, image: Image, prepared: Prepared, s: int) -> View:
    """How to look at what the network saw: a picture as it is, a volume in the axial slice through the peak of changes.

    Of slice s of a volume, the way up that the slice has in the body.
    """
    known = image.ndim == 2 or located(image.affine)
    matrix, space = np.eye(4), range(image.ndim)
    matrix[: image.ndim, [*space, 3]] = prepared.matrix[:-1]
    affine = image.affine @ matrix if known else None
    if prepared.sliced is None:
        return views(changes, affine)[0]
    axis, alone = prepared.sliced, np.expand_dims(changes, prepared.sliced)
    if affine is None:
        view, label = views(alone, None)[2 - axis], f"axis {axis + 1}, slice {s + 1} of {len(prepared.pixels)}"
    else:
        affine[:, 3] += s * affine[:, axis]
        view = views(alone, affine)[2 - int(io_orientation(affine)[axis, 0])]
        label = view.label
    return replace(view, label=label, cut=lambda values: view.cut(np.expand_dims(values, axis)))


def _numpy(x: torch.Tensor) -> np.ndarray:
    return x.detach().float().cpu().numpy()


def _moving(prepared: Prepared, field: np.ndarray | None) -> dict[str, np.ndarray]:
    """Field in pixels of the source, and its log Jacobian, for the figure; nothing for slices of volumes."""
    if field is None or prepared.sliced is not None:
        return {}
    components = np.stack([prepared.restore(field[:, c : c + 1]) for c in range(field.shape[1])])
    turned = np.tensordot(prepared.matrix[:-1, :-1], components, axes=1)
    logs = log_jacobian(torch.from_numpy(field)).numpy()
    return {"field": turned, "log_jacobian": prepared.restore(logs)}


def _footer(about: Mapping[str, Any], walked: Told | None = None) -> str:
    """Names and figures; beside a logit of the target its probability, as the walk tells it."""
    told = []
    for name, value in about.items():
        chance = f" ({walked.word(value)})" if walked is not None and walked.logit and name in LOGITS else ""
        told += [f"{name.replace('_', ' ')} {_number(value)}{chance}"] if name not in (*ABOUT, "mask") else []
    return ", ".join(told)


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


ABOUT = ("id", "subject", "path", "files")
LOGITS = ("target_before", "target_after", "before", "drawn", "end", "after")
