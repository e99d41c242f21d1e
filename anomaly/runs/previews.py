"""Pages for a reader: pictures and plain words that a training leaves, and what a run draws beside real images."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nibabel.affines import voxel_sizes
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from PIL import Image

from anomaly.detectors import DETECTORS, Detector
from anomaly.images.preprocessing import Preprocessing
from anomaly.pictures import heatmaps
from anomaly.runs.calibration import Calibration
from anomaly.training.batches import evenly

SHOWN, ROWS = 8, 3
MOST_CLASSES, LONGEST_NAME = 10, 20
LONGEST = 256  # pixels of the longest side of a volume, before the sheet makes it as small as its panels
EDGES = (-1.0, 1.0)  # what is drawn black and white where images are to be compared


def preview(
    detector: Detector,
    calibration: Calibration,
    images: np.ndarray,
    path: Path,
    *,
    slices: bool = False,
) -> None:
    """Write a contact sheet of normals not trained on: image, reconstruction, map in units of normal variation.

    A good model draws their anatomy again and leaves the last row almost free of colour.

    Args:
        detector: fitted; where it draws no reconstruction, that row is left out.
        calibration: what the map's unit comes from.
        images: (n, C, *space) as prepared for the detector, n >= 1; up to 8, evenly spread over them, are shown.
            Channels are averaged; of a volume the middle slice of the last axis is shown.
        path: of the PNG file.
        slices: the images are slices of volumes, to be turned as a volume's are.
    """
    chosen = evenly(len(images), SHOWN)
    shown = np.array(images[chosen], dtype=np.float32)
    x = torch.from_numpy(shown).to(detector.device)
    z = calibration.map_z(detector.score(x).map.float().cpu().numpy())
    with torch.no_grad():
        drawn = detector.reconstruct(x)
    turned = slices or shown.ndim == 5
    originals = flat_pictures(detector.own(x).float().cpu().numpy(), turned)
    limits = heatmaps.window(np.stack(originals))
    grey = [heatmaps.grey(each, limits) for each in originals]
    rows = {"image": grey}
    if drawn is not None:
        redrawn = flat_pictures(drawn.float().cpu().numpy(), turned)
        rows["reconstruction"] = [heatmaps.grey(each, limits) for each in redrawn]
    rows["departure"] = [heatmaps.coloured(*each) for each in zip(grey, flat_pictures(z, turned), strict=True)]
    title = f"{detector.name} on normal images it was not trained on"
    heatmaps.write_png(path, heatmaps.sheet(list(rows.values()), list(rows), title=title))


def generated_sheet(
    path: Path,
    generated: np.ndarray,
    real: np.ndarray,
    *,
    title: str,
    affine: np.ndarray | None = None,
    slices: bool = False,
    classes: np.ndarray | None = None,
    real_classes: np.ndarray | None = None,
) -> None:
    """Write a contact sheet of generated images above real ones, all on one scale from black to white.

    With classes, each of the first 10 has a row of generated images above one of real ones, up to 8 of both.

    Args:
        path: of the PNG file.
        generated: (n, C, *space) in [-1, 1]; of pictures up to 24 are shown, of volumes the middle slices of 8.
        real: the same of real images, may be none; evenly spread over them.
        title: a line above.
        affine: of volumes, index to millimetres.
        slices: the images are slices of volumes, to be turned as a volume's are.
        classes: (n,), the name of the class of each generated image.
        real_classes: the same of the real ones; None shows them below all classes.
    """
    most = SHOWN * (ROWS if affine is None else 1)
    if classes is None:
        groups = [("new", generated[:most]), ("real", _spread(real, most))]
    else:
        groups = _by_class(generated, classes, real, real_classes)
    rows: list[list[np.ndarray]] = []
    labels: list[str] = []
    for name, images in groups:
        if affine is None:
            turned = images.swapaxes(2, 3)[..., ::-1, ::-1] if slices else images
            blocks = [[_panel(each) for each in turned[k : k + SHOWN]] for k in range(0, len(turned), SHOWN)]
            labels += [name, *[""] * (len(blocks) - 1)][: len(blocks)]
        else:
            blocks = [list(row) for row in zip(*(_middles(each, affine) for each in images), strict=True)]
            labels += [f"{name}, {plane}" for plane, *_ in heatmaps.PLANES][: len(blocks)]
        rows += blocks
    heatmaps.write_png(path, heatmaps.sheet(heatmaps.filled(rows), labels, title=title, bar=False))


def model_card(
    detector: Detector, preprocessing: Preprocessing, data: dict[str, Any], seed: int, column: str | None = None
) -> str:
    """Say in plain words what a run is, what it may be used for and what it cannot know; Markdown.

    Args:
        detector: fitted.
        preprocessing: how its images are prepared.
        data: `images`, `subjects`, `subjects_from`, `split` (images in train, choose and
            calibrate), `calibration_subjects`, `fingerprint`, `unreadable`; with a column `classes`, how many images
            of each there were to train on.
        seed: of the training.
        column: told the classes that it learned to draw apart, if it did.
    """
    counts = ", ".join(f"{name} ({images})" for name, images in data.get("classes", {}).items())
    facts = {
        "name": detector.name,
        "summary": getattr(detector, "summary", "a method of the user's own"),
        "cite": getattr(detector, "cite", "not given by the author of the method"),
        "settings": bullets(detector.settings()),
        "story": f"{story}\n" if (story := detector.story()) else "",
        "preprocessing": bullets(dataclasses.asdict(preprocessing)),
        "shape": " x ".join(str(side) for side in detector.shape_),
        "smallest": f"{1 / (data['calibration_subjects'] + 1):.3g}",
        "masks": " --mask MASKS" if preprocessing.mask == "given" else "",
        "own": "" if detector.name in DETECTORS else " --method FILE.py:CLASS",
        "seed": seed,
        "drawn_apart": f"\n- classes it learned to draw apart, with images to train on: {counts}" if column else "",
        "labels": LABELS.format(column=column) if column else NO_LABELS,
        **{name: value for name, value in data.items() if name != "split"},
        **data["split"],
    }
    return CARD.format(**facts)


def _by_class(
    generated: np.ndarray, classes: np.ndarray, real: np.ndarray, real_classes: np.ndarray | None
) -> list[tuple[str, np.ndarray]]:
    """What the rows of a sheet show by class, each with its label; of a long name both ends."""
    groups = []
    for name in list(dict.fromkeys(classes))[:MOST_CLASSES]:
        label = name if len(name) <= LONGEST_NAME else f"{name[:9]}...{name[-8:]}"
        groups.append((f"{label}, new", generated[classes == name][:SHOWN]))
        if real_classes is not None:
            groups.append((f"{label}, real", _spread(real[real_classes == name], SHOWN)))
    return groups if real_classes is not None else [*groups, ("real", _spread(real, SHOWN))]


def _spread(images: np.ndarray, most: int) -> np.ndarray:
    """At most so many images, evenly spread over all."""
    return images[evenly(len(images), most)]


def flat_pictures(images: np.ndarray, turned: bool, step: int = 1) -> list[np.ndarray]:
    """One picture (rows, columns) for each of (n, C, *space), front or head up where they are `turned`.

    Of volumes the slice of the last axis that `shown_slice` says.
    """
    flat = images.mean(axis=1)
    flat = flat[..., shown_slice(flat.shape[-1], step)] if flat.ndim == 4 else flat
    return [each.T[::-1, ::-1] if turned else each for each in flat]


def shown_slice(count: int, step: int = 1) -> int:
    """The middle one of so many slices; where one of `step` was kept, midway between two kept ones near it."""
    middle = count // 2
    return middle if step == 1 else min(middle // step * step + step // 2, count - 1)


def _panel(image: np.ndarray) -> np.ndarray:
    """One picture (C, rows, columns) as uint8: in colours where it has three channels, else their mean."""
    return heatmaps.grey(np.moveaxis(image, 0, -1) if len(image) == 3 else image.mean(axis=0), EDGES)


def _middles(image: np.ndarray, affine: np.ndarray) -> list[np.ndarray]:
    """The middle axial, coronal and sagittal slices of (C, i, j, k), in millimetres; front or head up, right left."""
    turn = io_orientation(affine)
    turned = np.stack([apply_orientation(channel, turn) for channel in image])
    sides = np.array(turned.shape[1:]) * voxel_sizes(affine @ inv_ornt_aff(turn, image.shape[1:]))
    panels = []
    for _, _, axis, _ in heatmaps.PLANES:
        middle = np.take(turned, turned.shape[axis + 1] // 2, axis + 1)
        across, down = np.delete(sides, axis) * LONGEST / sides.max()
        panel = Image.fromarray(_panel(middle.transpose(0, 2, 1)[:, ::-1, ::-1]))
        panels.append(np.asarray(panel.resize((max(1, round(across)), max(1, round(down))), Image.Resampling.BICUBIC)))
    return panels


def bullets(values: Mapping[str, Any]) -> str:
    """Names and values as a list in Markdown; "none" where there are none."""
    return "\n".join(f"- {name}: {value}" for name, value in values.items()) or "none"


NO_LABELS = (
    "Labels of disease were never used: not for training, not for stopping, not for calibration, not for scoring."
)
LABELS = """The column `{column}` told, in training alone, which images are of one class, so that it draws each apart.
No other label was used, and none for stopping or calibration: images of all classes count as normal. But the critic has
seen the column, so values made of its features (`both`, the default, and `features`) may tell the classes by that."""

CARD = """# Model card: {name}

## What it is

An anomaly detector: it learned from images of normal people only, and says how far and where another image
departs from them. Method: `{name}`, {summary}.

Settings:

{settings}

{story}## What it was trained on

- {images} images of {subjects} subjects, all taken to be normal ({unreadable} more could not be read and were left out)
- {train} images to train
- {choose} images held out to scale residuals by, and to stop by where `patience` is set; what learns in closed form has
  learned from them as well, after that
- {calibrate} images held out to calibrate by, used once, after training
- no subject is in more than one of these parts; the split depends on the subjects' names alone, which come from
  {subjects_from}
- fingerprint of the data: `{fingerprint}`
- seed: {seed}{drawn_apart}

{labels}

## How images are prepared

The network sees (channels x space) {shape}.

{preprocessing}

## How to score with it

    anomaly score RUN --images FOLDER_OR_CSV{masks} --out OUT{own}

`OUT/scores.csv` has one row an image:

- `value`: how abnormal, in the method's own unit; higher is more abnormal
- `z`: the same on the scale of a standard normal among the held-out normals
- `p_value`: share of held-out normals at least as abnormal, (1 + number) / ({calibration_subjects} + 1),
  each subject counted once; none can be below {smallest}, and with a limit below that nothing is ever flagged
- `flagged`: whether the p-value is at or below the rate asked for

Heatmaps are in standard deviations of normal variation at each pixel: no colour below 2, full colour from 8, the
same for every image. Some pixels of a normal image pass 2 by chance. `preview.png` shows normals not trained on.

## What it is for, and what it is not

- For research. It is not a medical device, was not validated for diagnosis, and must not guide care.
- Departing from normal is not disease. Another scanner, site, protocol, age group or preparation looks like
  disease to it: compare cases only with normals acquired in the same way.
- p-values hold only for images whose normals are exchangeable with the held-out ones: same population, same
  acquisition. Elsewhere, calibrate anew by training on normals from there.
- If "normal" images above show disease, it learned that disease as normal.
- A finding that the prepared image no longer shows, for its size or its contrast, cannot be found.
- How well it tells patients from others is not known from this run: use `anomaly evaluate` on labelled cases that
  were never trained on.

## How to cite

- the method: {cite}
- the software: anomaly-explain, see its CITATION.cff
"""
