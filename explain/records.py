"""What is kept of one explained image: a row of figures, and its map, counterfactual, field and picture as files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anomaly.images import Image, write_volume
from anomaly.images.pictures import write_grey
from anomaly.preprocessing import Prepared
from explain.field_files import field_in_mm, write_field
from explain.fields import log_jacobian
from explain.pictures import save_figure

FOLDER = "maps"
OUTPUTS = ("auto", "nifti", "png", "none")


@dataclass(frozen=True)
class Record:
    """The explanation of one image, on the grid a network saw, as arrays with an axis of slices in front.

    Args:
        map: (S, 1, *size).
        change: image minus counterfactual, (S, C, *size); None where none is drawn.
        field: (S, dims, *size) in pixels; None where nothing moves.
        spread: (S, 1, *size); None where there is one draw.
        figures: for the table, by name.
    """

    map: np.ndarray
    change: np.ndarray | None
    field: np.ndarray | None
    spread: np.ndarray | None
    figures: Mapping[str, float]


def write_record(
    folder: Path,
    about: Mapping[str, Any],
    image: Image,
    prepared: Prepared,
    record: Record,
    *,
    outputs: Sequence[str],
    limit: float,
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
        outputs: "nifti" (map, counterfactual, field, spread), "png" (the figure), "auto" (both), "none".
        limit: where the colours of the map end.
    """
    wanted = {"nifti", "png"} if "auto" in outputs else set(outputs) - {"none"}
    if not wanted:
        return []
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    stem = f"{FOLDER}/{about['id']}"
    map = prepared.restore(record.map)
    changed = None if record.change is None else _changed(image, prepared, record.change)
    names: list[str] = []
    if "nifti" in wanted:
        names.append(f"{stem}_map.nii.gz")
        write_volume(folder / names[-1], map, image.affine)
        if changed is not None:
            names.append(_write_counterfactual(folder, stem, image, changed))
        if record.field is not None:
            names.append(f"{stem}_field.nii.gz")
            field = record.field if prepared.sliced is not None else record.field[0]
            write_field(folder / names[-1], field_in_mm(field, prepared, image.affine), image.affine)
        if record.spread is not None:
            names.append(f"{stem}_spread.nii.gz")
            write_volume(folder / names[-1], prepared.restore(record.spread), image.affine)
    if "png" in wanted:
        names.append(f"{stem}.png")
        save_figure(
            folder / names[-1], image.pixels.mean(0), map=map, affine=image.affine, title=str(about["id"]),
            counterfactual=None if changed is None else changed.mean(0), limits=limit, footer=_footer(about),
            spread=None if record.spread is None else prepared.restore(record.spread),
            **_moving(prepared, record.field),
        )  # fmt: skip
    return names


def _changed(image: Image, prepared: Prepared, change: np.ndarray) -> np.ndarray:
    """The counterfactual (C, *space) in the image's own intensities; one change for all channels of colours."""
    channels = [prepared.restore(change[:, c : c + 1]) * prepared.unit[c] for c in range(change.shape[1])]
    per_channel = np.stack(channels)
    if len(per_channel) != len(image.pixels):
        per_channel = per_channel.mean(0, keepdims=True)
    counterfactual: np.ndarray = image.pixels - per_channel.astype(np.float32)
    return counterfactual if image.limits is None else counterfactual.clip(*image.limits)


def _write_counterfactual(folder: Path, stem: str, image: Image, changed: np.ndarray) -> str:
    """A PNG of the depth of the picture it came from, a NIfTI file of everything else; its name."""
    if image.kind == "picture" and image.limits is not None and len(changed) in (1, 3):
        name = f"{stem}_counterfactual.png"
        kind = np.uint8 if image.limits[1] <= 255 or len(changed) == 3 else np.uint16
        scale = np.iinfo(kind).max / image.limits[1]
        values = np.rint(changed * scale).astype(kind)
        write_grey(folder / name, values[0] if len(values) == 1 else np.moveaxis(values, 0, -1))
        return name
    name = f"{stem}_counterfactual.nii.gz"
    write_volume(folder / name, changed[0] if len(changed) == 1 else np.moveaxis(changed, 0, -1), image.affine)
    return name


def _moving(prepared: Prepared, field: np.ndarray | None) -> dict[str, np.ndarray]:
    """Field in pixels of the source, and its log Jacobian, for the figure; nothing for slices of volumes."""
    if field is None or prepared.sliced is not None:
        return {}
    components = np.stack([prepared.restore(field[:, c : c + 1]) for c in range(field.shape[1])])
    turned = np.tensordot(prepared.matrix[:-1, :-1], components, axes=1)
    logs = log_jacobian(torch.from_numpy(field)).numpy()
    return {"field": turned, "log_jacobian": prepared.restore(logs)}


def _footer(about: Mapping[str, Any]) -> str:
    told = [f"{name.replace('_', ' ')} {_number(value)}" for name, value in about.items() if name not in ABOUT]
    return ", ".join(told)


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


ABOUT = ("id", "subject", "path", "files")
