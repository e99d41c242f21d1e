"""NumPy arrays saved as .npy or .npz; and .npy written."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from anomaly.errors import UnreadableImage
from anomaly.files import write_whole
from anomaly.images.claims import DEFLATED, refuse_more
from anomaly.images.image import MOST_CHANNELS, Image, as_float, single


def read_array(path: Path) -> Image:
    """Read an array: 2D is one grey picture, 3D one volume (i, j, k), 4D has its channels first; an axis of a
    volume that is 1 long is dropped.

    Raises UnreadableImage for an .npz of several arrays, for pickled objects (never loaded, since loading
    them runs code) and for more than 8 channels.
    """
    values = _load(path)
    if values.ndim not in (2, 3, 4) or (values.ndim == 4 and len(values) > MOST_CHANNELS):
        raise UnreadableImage(
            f"{path}: has the shape {values.shape}; expected (rows, columns), (i, j, k) or (channels, i, j, k)"
        )
    limits = (0.0, 255.0) if values.dtype == np.uint8 else None
    pixels = as_float(values if values.ndim == 4 else values[None], path)
    thin = single(pixels.shape[1:])
    pixels = pixels if thin is None else pixels.squeeze(thin + 1)
    return Image(pixels, np.eye(4), path, "array", limits)


def write_array(path: Path, values: np.ndarray) -> None:
    """Write an array as `.npy`, whole or not at all."""
    stream = io.BytesIO()
    np.save(stream, values)
    write_whole(path, stream.getvalue())


def _load(path: Path) -> np.ndarray:
    try:
        _refuse_more(path)
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content
        with content:
            if len(content.files) != 1:
                names = ", ".join(content.files[:5])
                raise UnreadableImage(
                    f"{path}: holds {len(content.files)} arrays ({names}); save each as an .npy of its own"
                )
            return np.asarray(content[content.files[0]])
    except ValueError as error:
        if "pickle" not in str(error).lower():
            raise
        raise UnreadableImage(
            f"{path}: is no array of plain numbers (objects or text); save it with numpy.save as floats"
        ) from error


def _refuse_more(path: Path) -> None:
    """Refuse a header that claims more values than the file holds, of an .npy or of each array in an .npz."""
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            file.seek(0)
            _refuse_claimed(path, file, path.stat().st_size)
            return
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                with archive.open(member) as inside:
                    _refuse_claimed(path, inside, min(member.file_size, member.compress_size * DEFLATED))


def _refuse_claimed(path: Path, file: IO[bytes], held: int) -> None:
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        reader = readers.get(np.lib.format.read_magic(file))
        claimed = reader(file) if reader is not None else None
    except ValueError:  # what is no array is told by who reads it
        return
    if claimed is not None:
        refuse_more(path, claimed[0], 8 * claimed[2].itemsize, held)
