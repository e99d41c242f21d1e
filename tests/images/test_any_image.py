"""Any file of a format is read as its own library reads it, or refused by its name."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import PIL.Image
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from anomaly.errors import UnreadableImage
from anomaly.images import Image, read, write_volume
from anomaly.images.image import invertible

PLAIN = settings(max_examples=100, deadline=None, derandomize=True)
MILLIMETRES = {1: 1000.0, 3: 0.001}
REAL = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")
OTHERS = ("c8", "c16", [("R", "u1"), ("G", "u1"), ("B", "u1")])
sizes = st.sampled_from([1, 1, 1, 2, 3, 5, 9])
shapes = st.one_of(st.lists(sizes, min_size=3, max_size=4), st.lists(sizes, min_size=1, max_size=7)).filter(
    lambda shape: np.prod(shape) <= 600
)
zooms = st.one_of(st.floats(0.3, 5), st.sampled_from([1e-4, 1.0, 1e5]))
numbers = st.one_of(st.floats(-2, 2, width=32), st.sampled_from([0.0, 1.0, -1.0]))
slopes = st.sampled_from([(0, 0), (1, 0), (0.5, 10), (-2, 1), (np.nan, np.nan), (1e-30, 0), (3e38, 0), (0, 7)])
headers = st.fixed_dictionaries(
    {
        "shape": shapes,
        "dtype": st.one_of(*map(st.sampled_from, (REAL, REAL, REAL, OTHERS))),
        "slope": slopes,
        "codes": st.tuples(st.integers(0, 4), st.integers(0, 4)),
        "zooms": st.tuples(zooms, zooms, zooms),
        "shear": st.tuples(numbers, numbers, numbers),
        "order": st.permutations(range(3)),
        "signs": st.tuples(*[st.sampled_from([1, -1])] * 3),
        "quaternion": st.tuples(*[st.floats(-0.5, 0.5, width=32)] * 3),
        "offset": st.tuples(*[st.floats(-300, 300, width=32)] * 3),
        "qfac": st.sampled_from([-1, 0, 1]),
        "units": st.one_of(st.sampled_from([0, 1, 2, 3, 10]), st.integers(0, 255)),
        "texts": st.tuples(st.binary(max_size=80), st.binary(max_size=24), st.binary(max_size=16)),
        "seed": st.integers(0, 9),
    }
)
AS_USUAL: dict[str, Any] = {
    "shape": [2, 3, 5], "dtype": "i2", "slope": (1, 0), "codes": (1, 1), "zooms": (1.0, 2.0, 3.0),
    "shear": (0.0, 0.0, 0.0), "order": [0, 1, 2], "signs": (1, 1, 1), "quaternion": (0.0, 0.0, 0.0),
    "offset": (1.0, 2.0, 3.0), "qfac": 1, "units": 10, "texts": (b"", b"", b""), "seed": 0,
}  # fmt: skip


def sform(told: dict[str, Any]) -> np.ndarray:
    shear = np.eye(3)
    shear[np.triu_indices(3, 1)] = told["shear"]
    return (shear * told["zooms"] * told["signs"])[:, told["order"]]


def written(path: Path, told: dict[str, Any]) -> None:
    """A NIfTI file of these bytes, whether a library would write them or not."""
    header: Any = nib.Nifti1Header()
    dtype = np.dtype(told["dtype"])
    header.set_data_dtype(dtype)
    header.set_data_shape(told["shape"])
    header["pixdim"][:4] = (told["qfac"], *told["zooms"])
    header["sform_code"], header["qform_code"] = told["codes"]
    for name, row, start in zip(("srow_x", "srow_y", "srow_z"), sform(told), told["offset"], strict=True):
        header[name] = (*row, start)
    for names, values in (("quatern_bcd", told["quaternion"]), ("qoffset_xyz", told["offset"])):
        stem, _, letters = names.rpartition("_")
        for letter, value in zip(letters, values, strict=True):
            header[f"{stem}_{letter}"] = value
    header["xyzt_units"], header["vox_offset"], header["magic"] = told["units"], 352, b"n+1"
    header["scl_slope"], header["scl_inter"] = told["slope"]
    header["descrip"], header["aux_file"], header["intent_name"] = told["texts"]
    count = int(np.prod(told["shape"]))
    content = np.random.default_rng(told["seed"]).integers(0, 60, count * dtype.itemsize, dtype=np.uint8)
    path.write_bytes(header.binaryblock + bytes(4) + content.tobytes())


def refused_or(path: Path) -> Image | None:
    """The image, or None where it is refused by the file's name, in one line."""
    try:
        return read(path)
    except UnreadableImage as error:
        assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
        return None


def laid_out(values: np.ndarray) -> tuple[np.ndarray | None, int | None]:
    """Values as (C, *space), and the axis of space left out; None where they are no picture or volume."""
    if values.dtype.names:
        values = np.stack([values[name] for name in values.dtype.names], -1)
        values = values[(slice(None),) * (values.ndim - 1) + (None,) * (4 - values.ndim)]
    if values.dtype.kind == "c" or values.ndim < 2:
        return None, None
    shape = list(values.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    if len(shape) > 4 or (len(shape) == 4 and shape[3] > 8):
        return None, None
    values = np.moveaxis(values.reshape(shape), 3, 0) if len(shape) == 4 else values.reshape(1, *shape)
    thin = [axis for axis in range(3) if values.shape[1:][axis : axis + 1] == (1,)] if values.ndim == 4 else []
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    return (np.squeeze(values, thin[-1] + 1), thin[-1]) if thin else (values, None)


@PLAIN
@example({**AS_USUAL, "units": 64})
@example({**AS_USUAL, "shape": [1, 1, 5]})
@example({**AS_USUAL, "dtype": OTHERS[-1], "shape": [4, 3], "slope": (0.5, 10)})
@given(headers)
def test_any_nifti_is_read_as_nibabel_reads_it(tmp_path_factory: pytest.TempPathFactory, told: dict[str, Any]) -> None:
    path = tmp_path_factory.mktemp("nifti") / "x.nii"
    written(path, told)
    image = refused_or(path)
    file: Any = nib.load(path)
    with np.errstate(all="ignore"):
        stored = file.dataobj.get_unscaled() if file.dataobj.dtype.names else np.asanyarray(file.dataobj)
        values, thin = laid_out(stored)  # colours have no slope
    affine = np.diag([*[MILLIMETRES.get(told["units"] % 8, 1.0)] * 3, 1.0]) @ file.affine
    fine = values is not None and np.isfinite(values).all() and invertible(affine)
    assert (image is not None) == fine
    if image is None or values is None:
        return
    np.testing.assert_array_equal(image.pixels, values)
    order = [*(axis for axis in range(3) if axis != thin), *([] if thin is None else [thin]), 3]
    np.testing.assert_allclose(image.affine, affine[:, order], rtol=1e-6, atol=1e-9)
    write_volume(path.with_name("map.nii"), np.zeros(image.space), image.frame)
    after: Any = nib.load(path.with_name("map.nii"))
    assert after.shape == (*file.shape[:3], 1)[:3]
    np.testing.assert_array_equal(after.affine, file.affine)
    assert after.header["xyzt_units"] % 8 == told["units"] % 8


@PLAIN
@given(
    st.sampled_from([*REAL, "f2", "?", "c8", "U2", "M8[s]", ">i2", ">f8"]),
    st.lists(st.sampled_from([0, 1, 1, 2, 3, 9]), max_size=5).filter(lambda shape: np.prod(shape) < 600),
    st.integers(0, 9),
)
def test_any_array_is_read_as_it_was_saved(
    tmp_path_factory: pytest.TempPathFactory, dtype: str, shape: list[int], seed: int
) -> None:
    drawn = np.random.default_rng(seed).integers(0, 256, (*shape, np.dtype(dtype).itemsize), dtype=np.uint8)
    values = drawn.view(dtype)[..., 0] if np.dtype(dtype).kind in "biufc" else np.zeros(shape, dtype)
    path = tmp_path_factory.mktemp("array") / "x.npy"
    np.save(path, values)
    image = refused_or(path)
    fits = values.ndim in (2, 3) or (values.ndim == 4 and len(values) <= 8)
    with np.errstate(all="ignore"):
        fine = fits and values.size and values.dtype.kind in "biuf" and np.isfinite(values.astype(np.float32)).all()
    assert (image is not None) == bool(fine)
    if image is not None:
        whole = values if values.ndim == 4 else values[None]
        thin = [axis for axis in range(1, 4) if whole.ndim == 4 and whole.shape[axis] == 1][-1:]
        np.testing.assert_array_equal(image.pixels, np.squeeze(whole, tuple(thin)).astype(np.float32))
        np.testing.assert_array_equal(image.affine, np.eye(4))


@PLAIN
@given(
    st.sampled_from([".png", ".tif", ".PNG", ".tiff"]),
    st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I", "F", "CMYK"]),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.integers(0, 9),
)
def test_any_picture_is_read_as_it_was_saved(
    tmp_path_factory: pytest.TempPathFactory, ending: str, mode: str, size: tuple[int, int], seed: int
) -> None:
    path = tmp_path_factory.mktemp("picture") / f"x{ending}"
    kind = {"I;16": "u2", "I": "i4", "F": "f4"}.get(mode, "u1")
    top = 60000 if kind != "u1" else 256
    drawn = np.random.default_rng(seed).integers(0, top, (*size, 3)).astype(kind)
    drawn = drawn if seed % 2 else np.repeat(drawn[..., :1], 3, axis=-1)
    saved = PIL.Image.fromarray(drawn if kind == "u1" else drawn[..., 0])
    saved = saved.convert("L" if mode == "P" and seed % 2 == 0 else "RGB").convert(mode) if kind == "u1" else saved
    try:
        saved.save(path)
    except OSError:  # PNG holds no floating-point numbers and no CMYK
        return
    image = refused_or(path)
    assert image is not None and image.space == size and image.kind == "picture"
    expected = np.asarray(saved.convert("RGB") if mode in ("P", "RGBA", "CMYK") else saved)
    if mode == "1":
        expected = expected * np.uint8(255)
    expected = expected[..., 0] if mode == "LA" else expected
    grey = mode == "P" and (expected == expected[..., :1]).all()
    expected = expected[..., 0] if grey else expected
    np.testing.assert_array_equal(image.pixels, np.moveaxis(expected.reshape(*size, -1), -1, 0).astype(np.float32))
