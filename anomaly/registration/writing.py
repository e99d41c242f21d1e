"""One pair registered and written: the image, its field, its picture, and what lies beside the image."""

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from anomaly.errors import AnomalyError, UnreadableImage
from anomaly.images import Image, read, write_volume
from anomaly.images.fields import write_field
from anomaly.images.image import alone
from anomaly.images.redrawn import within_limits, write_redrawn
from anomaly.registrars.base import Registrar
from anomaly.registrars.laying import Laid, common, lay
from anomaly.registrars.linear import by_header
from anomaly.registrars.mirror import mirrored
from anomaly.registrars.quality import dice
from anomaly.registrars.transforms import Transform
from anomaly.registration.drawing import draw, title_of, words_of
from anomaly.registration.opening import Way
from anomaly.registration.reading import opened
from anomaly.registration.sharing import Room

REGISTERED, FIELDS, PICTURES = "registered", "fields", "pictures"
LEARNED = "the run learned from this person: figures of it are too good"
SAYS = "moved onto another image by anomaly register"


def finished(job: Mapping[str, Any], out: Path, way: Way, deformable: Registrar | None, room: Room) -> dict[str, Any]:
    """Register one pair, write its files, then give its row: a row never names a file that is not there."""
    about = {"id": job["id"], "path": job["moving"]}
    try:
        work = partial(_registered, job, out, way, deformable, room)
        return alone(Path(job["moving"]), work, f"registered to {job['fixed']}")
    except AnomalyError as error:  # of two images, one of which does not suit the other
        return {**about, "error": str(error)}


def within(path: str, out: Path) -> str:
    """A file as the table names it: from the folder of the table where it lies in there, so that this may be moved."""
    there = Path(os.path.abspath(out))
    return Path(path).relative_to(there).as_posix() if Path(path).is_relative_to(there) else path


def _registered(
    job: Mapping[str, Any], out: Path, way: Way, deformable: Registrar | None, room: Room
) -> dict[str, Any]:
    original = opened(job["moving"], job.get("moving_mask"))
    fixed = opened(job["fixed"], job.get("fixed_mask"))
    moving = mirrored(original) if job["mirror"] else original
    with room.of(moving, fixed):
        laid = lay(moving, fixed, start=way.whole, deformable=deformable, metric=way.metric, seed=way.seed)
        if str(job.get("subject")) in getattr(deformable, "trained", ()):
            laid = replace(laid, warning="; ".join(each for each in (laid.warning, LEARNED) if each))
        written, figures = _written(job, out, laid, original, way.metric)
    taken = {name: written[name] for name in written if name not in ("field", "picture")}
    return {
        **{key: value for key, value in job.items() if key not in ("mirror", "fixed")},
        "baseline": within(job["baseline"], out),
        **{key: file.relative_to(out).as_posix() for key, file in taken.items()},
        **{f"baseline_{key}": job[f"fixed_{key}"] for key in ("map", "labels") if job.get(f"fixed_{key}")},
        "mask": job.get("fixed_mask") or "",
        **{key: round(value, 6) for key, value in {**laid.quality, **figures}.items()},
        "warning": laid.warning,
        "files": ";".join(file.relative_to(out).as_posix() for file in written.values()),
    }


def _written(
    job: Mapping[str, Any], out: Path, laid: Laid, original: Image, metric: str
) -> tuple[dict[str, Path], dict[str, float]]:
    """Write the files of a pair: the image as `path`, its field, its picture, and what lies beside it; and its Dice."""
    moving, fixed = laid.transform.moving, laid.transform.fixed
    before = Transform.linear(by_header(moving, fixed), moving, fixed)
    beside, figures = _beside(job, out, laid, before)
    name, image = str(job["id"]), laid.transform.image(moving)
    path = write_redrawn(out / REGISTERED / name, image, within_limits(moving, image.pixels), SAYS, fixed.frame)
    field = out / FIELDS / f"{name}_field.nii.gz"
    write_field(field, (laid.transform.turned_back(original) if job["mirror"] else laid.transform).displacement,
                fixed.frame)  # fmt: skip
    shown = out / PICTURES / f"{name}.png"
    words = words_of(laid.quality, metric, laid.warning)
    draw(shown, title_of(moving, fixed), before, laid.transform, common(laid.transform), words)
    return {"path": path, "field": field, "picture": shown, **beside}, figures


def _beside(
    job: Mapping[str, Any], out: Path, laid: Laid, before: Transform
) -> tuple[dict[str, Path], dict[str, float]]:
    """Write what lies beside the moving image on the fixed grid, and say how well labels fit: map, labels, mask."""
    written, figures = {}, {}
    for key in ("map", "labels", "moving_mask"):
        if not (given := job.get(key if key == "moving_mask" else f"moving_{key}")):
            continue
        other = _on_grid_of(Path(given), Path(job["moving"]))
        turned = mirrored(other) if job["mirror"] else other
        nearest, kind = key != "map", key.removeprefix("moving_")
        values = np.stack([laid.transform.values(each, nearest=nearest) for each in turned.pixels])
        path = out / REGISTERED / f"{job['id']}_{kind}.nii.gz"
        several = len(values) > 1
        write_volume(path, np.moveaxis(values, 0, -1) if several else values[0], laid.transform.fixed.frame,
                     channels=several, says=SAYS)  # fmt: skip
        written["registered_mask" if kind == "mask" else kind] = path
        if key == "labels" and job.get("fixed_labels"):
            still = _on_grid_of(Path(job["fixed_labels"]), Path(job["fixed"])).pixels[0]
            figures["dice_before"] = dice(before.values(turned.pixels[0], nearest=True), still)
            figures["dice_after"] = dice(values[0], still)
    return written, figures


def _on_grid_of(path: Path, image: Path) -> Image:
    """What lies beside an image: a file on its grid.

    Raises:
        UnreadableImage: it lies on another.
    """
    found, own = read(path), read(image)
    if found.space != own.space or not np.allclose(found.affine, own.affine, rtol=0, atol=1e-2):
        raise UnreadableImage(
            f"{path}: lies on another grid than {image.name} ({found.space} against {own.space}, or elsewhere in the "
            "body); resample it onto that image's grid"
        )
    return found
