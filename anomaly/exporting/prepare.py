"""Images as the ONNX model in this folder takes them; `score.py` uses it, and so may you.

    from prepare import prepared
    images = prepared("knee.png", facts["preprocessing"], facts["input"]["image"])

Needs numpy, Pillow for PNG, JPEG and BMP, nibabel for NIfTI; and nothing of the program that made the model.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

EDGE = 0.5 + 1e-6  # a pixel reaches half its width from its centre
FORMATS = ("PNG", "JPEG", "BMP")  # whatever else Pillow could read is not asked; a camera's MPO begins with a JPEG
PICTURES, VOLUMES = (".png", ".jpg", ".jpeg", ".bmp"), (".nii", ".nii.gz")
ENDS = {"axial": "SI", "sagittal": "LR", "coronal": "AP"}  # of the axis that slices follow


class Unusable(Exception):
    """Why an image cannot be used."""


def stop(text: str) -> NoReturn:
    """Leave this image, with a reason."""
    raise Unusable(text)


def picture(path: str) -> tuple[Any, None, float]:
    """Values (C, rows, columns), no affine, and what white stands for."""
    try:
        import PIL.Image
    except ImportError:
        stop("pictures are read by Pillow, which is not here: pip install pillow")
    try:
        file = PIL.Image.open(path, formats=FORMATS)
    except PIL.UnidentifiedImageError:
        stop("is no PNG, JPEG or BMP whatever its name says, or is damaged; save it as one of these")
    if getattr(file, "n_frames", 1) > 1 and file.format != "MPO":
        stop("holds several pictures; save each as a file")
    if file.mode in ("1", "LA", "La"):
        values = np.asarray(file.convert("L"))
    elif file.mode in ("L", "RGB") or file.mode.startswith("I"):
        values = np.asarray(file)
    else:
        values = np.asarray(file.convert("RGB"))
        if file.mode in ("P", "PA") and (values == values[..., :1]).all():
            values = values[..., 0]
    values = np.moveaxis(values, -1, 0) if values.ndim == 3 else values[None]
    return values.astype(np.float32), None, 65535.0 if file.mode.startswith("I") else 255.0


def volume(path: str) -> tuple[Any, Any, float | None]:
    """Values (C, i, j, k), or (C, i, j) where an axis of space is 1 long; affine in mm; what white stands for."""
    try:
        import nibabel
    except ImportError:
        stop("volumes are read by nibabel, which is not here: pip install nibabel")
    file: Any = nibabel.load(path)
    values = np.asanyarray(file.dataobj)
    if values.dtype.kind not in "biuf":
        stop("holds colours or complex numbers; prepare it as README.md says, and give an .npy")
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim not in (3, 4) or (values.ndim == 4 and values.shape[3] > 8):
        stop(f"has the shape {values.shape}; expected a volume, or up to 8 channels in the fourth axis")
    top = 255.0 if values.dtype == np.uint8 else None
    affine = np.array(file.affine, float)
    affine[:3] *= {1: 1e3, 3: 1e-3}.get(int(file.header["xyzt_units"]) & 7, 1.0)
    values = (np.moveaxis(values, 3, 0) if values.ndim == 4 else values[None]).astype(np.float32)
    thin = [axis for axis in range(3) if values.shape[1 + axis] == 1]
    if thin:
        values = values.squeeze(1 + thin[-1])
        affine = affine[:, [*(axis for axis in range(3) if axis != thin[-1]), thin[-1], 3]]
    return values, affine, top


def turned(values: Any, affine: Any, orientation: str) -> tuple[Any, Any, str]:
    """Values whose axes point to the letters asked for, the size of a voxel along each, and the letters."""
    dims = values.ndim - 1
    if affine is None or (dims == 2 and np.array_equal(affine, np.diag(np.abs(np.diag(affine))))):
        return values, np.ones(dims) if affine is None else edges(affine)[:dims], ""
    from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

    now = io_orientation(affine)
    own = "".join(("LR", "PA", "IS")[int(axis)][int(sign > 0)] for axis, sign in now)
    letters = own if orientation == "keep" else orientation
    moves = ornt_transform(now, axcodes2ornt(letters))
    axes = np.argsort(moves[:, 0])
    axes = axes[axes < dims]
    values = values.transpose(0, *(1 + axes))
    values = np.flip(values, tuple(1 + k for k, axis in enumerate(axes) if moves[axis, 1] < 0))
    return values, edges(affine)[axes], letters


def edges(affine: Any) -> Any:
    """Millimetres along each of three axes."""
    return np.sqrt((affine[:3, :3] ** 2).sum(0))


def coloured(values: Any, want: int, is_picture: bool) -> Any:
    """As many channels as the model takes: colours become luminance, grey stands three times."""
    if is_picture and (len(values), want) == (3, 1):
        return np.tensordot(np.array([0.299, 0.587, 0.114], np.float32), values, axes=1)[None]
    if is_picture and (len(values), want) == (1, 3):
        return np.repeat(values, 3, axis=0)
    return values if len(values) == want else stop(f"has {len(values)} channels; expected {want}")


def spans(how: Any, count: Any, voxel: Any, size: Any, placed: bool) -> Any:
    """How many pixels of the file a prepared one spans, along each axis."""
    wanted = None if how["spacing"] is None else np.array(how["spacing"])
    if wanted is not None and not placed:
        stop("does not tell its pixel size in mm, and this model was trained at a spacing")
    if size is None or how["fit"] == "crop":
        steps = np.ones(len(count)) if wanted is None else wanted / voxel
    elif how["fit"] == "resize":
        steps = count / size
    elif wanted is None:
        steps = (count * voxel / size).max() / voxel
    else:
        steps = wanted * max(1.0, (count * voxel / (size * wanted)).max()) / voxel
    return np.where(np.abs(steps - 1) * count < 1e-3, 1.0, steps)


def weights(count: int, size: int, step: float, start: float) -> Any:
    """(size, count): of what pixels of the file each prepared one is made; blocks, then a Gaussian, then lines."""
    block = int(np.clip(step // 2, 1, count))
    blocks = -(-count // block)
    means = np.zeros((blocks, count))
    np.add.at(means, (np.arange(blocks * block) // block, np.minimum(np.arange(blocks * block), count - 1)), 1 / block)
    step, start = step / block, (start - (block - 1) / 2) / block
    at, k = np.clip(start + step * np.arange(size), 0, blocks - 1), np.arange(blocks)
    between = np.maximum(0, 1 - np.abs(at[:, None] - k))
    sigma = float(np.clip((step - 1) / 2, 0, blocks))
    if sigma > 1e-15:
        reach = int(4 * sigma + 0.5)
        bell = np.exp(-0.5 / sigma**2 * np.arange(-reach, reach + 1) ** 2)
        blur = np.zeros((blocks, blocks))
        for j, weight in zip(range(-reach, reach + 1), bell / bell.sum(), strict=True):
            np.add.at(blur, (k, np.clip(k + j, 0, blocks - 1)), weight)
        between = between @ blur
    return between @ means


def resampled(values: Any, steps: Any, grid: Any) -> tuple[Any, Any]:
    """Values (C, *grid), and where on the grid the image lies."""
    there = np.ones(tuple(grid), bool)
    for axis, (step, size) in enumerate(zip(steps, grid, strict=True)):
        count = values.shape[1 + axis]
        start = (count - 1) / 2 - step * (size // 2 if count < step else (size - 1) / 2)
        start = np.floor(start) if step == 1 else start
        places = start + step * np.arange(size)
        covered = (places >= -EDGE) & (places <= count - 1 + EDGE)
        there &= covered.reshape([-1 if each == axis else 1 for each in range(len(grid))])
        if (step, start, size) != (1, 0, count):
            made = np.tensordot(weights(count, int(size), float(step), float(start)), values, (1, 1 + axis))
            values = np.moveaxis(made, 0, 1 + axis)
    return values.astype(np.float32), there


def bounds(how: Any, part: Any, top: float | None) -> tuple[float, float]:
    """What becomes -1 and 1."""
    kind = how["intensity"]
    if kind == "window":
        return how["window"]
    if kind == "range":
        return (0.0, top) if top is not None else stop("does not tell the range of its values")
    if kind == "percentile":
        low, high = np.percentile(part, how["percentiles"])
        low, high = (part.min(), part.max()) if low == high else (low, high)
    else:
        mean, wide = part.mean(dtype=np.float64), 4 * part.std(dtype=np.float64)
        low, high = mean - wide, mean + wide
    return (float(low), float(high)) if high > low else stop(f"all pixels have the value {low:g}")


def prepared(path: str, how: Any, shape: Any) -> Any:
    """One image as the model takes it (n, C, *space): n slices of a volume for a model of pictures, else 1."""
    if how["mask"] != "none" or how["foreground"] != "none":
        stop("masks and foregrounds are not made here: prepare images as README.md says, and give an .npy")
    is_picture = path.lower().endswith(PICTURES)
    if not is_picture and not path.lower().endswith(VOLUMES):
        stop(f"expected one of {', '.join((*PICTURES, *VOLUMES))}, or prepared images as .npy")
    values, affine, top = picture(path) if is_picture else volume(path)
    if not np.isfinite(values).all():
        stop("holds NaN or infinite numbers")
    values, voxel, letters = turned(coloured(values, how["channels"], is_picture), affine, how["orientation"])
    count, dims = np.array(values.shape[1:]), how["dims"]
    if len(count) < dims:
        stop("is a picture; expected a volume")
    along = next(k for k, each in enumerate(letters) if each in ENDS[how["slices"]]) if len(count) > dims else None
    free = [axis for axis in range(len(count)) if axis != along]
    size = None if how["size"] is None else np.array(how["size"])
    steps, grid = np.ones(len(count)), count.copy()
    steps[free] = spans(how, count[free], voxel[free], size, affine is not None)
    grid = np.maximum(np.rint(count / steps), 1).astype(int)
    if size is not None:
        grid[free] = size
    values, there = resampled(values, steps, grid)
    if not there.any():
        stop("nothing of it is left on the grid, so long and thin is it")
    if how["intensity"] == "none":
        values[:, ~there] = values[:, there].min()
    else:
        together = len(values) == 3 and is_picture
        for channels in [slice(None)] if together else [slice(c, c + 1) for c in range(len(values))]:
            low, high = bounds(how, values[channels][:, there], top)
            values[channels] = np.clip((values[channels] - low) * (2 / (high - low)) - 1, -1, 1)
        values[:, ~there] = -1
    values = values[None] if along is None else np.moveaxis(values, 1 + along, 0)
    if how["context"] is not None:
        values = with_context(values, how["context"]) if along is not None else stop("has no slices beside it")
    return checked(np.ascontiguousarray(values, np.float32), shape)


def with_context(values: Any, reach: int) -> Any:
    """Slices (n, C, *space) with their neighbours, nearest first, below before above, and their height as channels."""
    many = len(values)
    whole = np.full((many + 2 * reach, *values.shape[1:]), -1, np.float32)
    whole[reach : reach + many] = values
    beside = [whole[reach + step : reach + step + many] for k in range(1, reach + 1) for step in (-k, k)]
    heights = (2 * np.arange(many) / max(1, many - 1) - 1).astype(np.float32)
    plane = np.broadcast_to(heights[:, None, None, None], (many, 1, *values.shape[2:]))
    return np.concatenate([values, *beside, plane], axis=1)


def checked(images: Any, shape: Any) -> Any:
    """The images, if the model can take them."""
    if images.ndim != len(shape) or list(images.shape[1:]) != list(shape[1:]):
        stop(f"has the shape {images.shape}; the model takes ({', '.join(map(str, shape))})")
    low, high = float(images.min()), float(images.max())
    if not (-1.001 <= low and high <= 1.001):  # NaN is refused as well
        stop(f"its values go from {low:.4g} to {high:.4g}; expected [-1, 1]")
    return images


def areas(images: Any, facts: Any) -> Any:
    """How much each image (n, C, *space) counts beside others of its volume: as many pixels as lie in its mask."""
    if facts["outside_of_a_mask"] is None:
        return np.ones(len(images))
    own = images[:, : facts["preprocessing"]["channels"]]
    return (own > facts["outside_of_a_mask"]).any(1).reshape(len(own), -1).sum(1)


def mean(values: Any, weights: Any) -> float:
    """The value of a volume from those of its slices (n,), each weighing as much as counts of it."""
    if not weights.any():
        stop("all of it lies outside of its mask: every pixel is -1")
    kept = weights > 0  # the others may say anything
    return float(np.average(values[kept].astype(np.float64), weights=weights[kept]))
