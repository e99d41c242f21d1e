"""Finds the maps of images, one a file, and reads them into one table of numbers on one grid."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from nibabel.affines import voxel_sizes
from scipy import ndimage

from anomaly.cohorts.results import check_unique, read_table, some
from anomaly.errors import EvaluationError, UnreadableImage
from anomaly.images import Image, find, read
from anomaly.images.frame import Frame
from anomaly.images.image import same_grid
from anomaly.images.reading import suffix
from anomaly.progress import progress
from explain.association.visits import BEFORE, YEARS

_FORMATS = (".nii", ".nii.gz", ".npy")
_MAP = re.compile(r"_(?:anomaly|map)$")
_SHOWN = 40
_FULL_WIDTH = 2 * np.sqrt(2 * np.log(2))  # of a Gaussian at half its height, in standard deviations


@dataclass(frozen=True)
class Maps:
    """Maps on one grid.

    Args:
        values: (n, V) float32, the voxels of the mask in C order.
        mask: (*space) bool.
        frame: how they lie, for what is written to lie over them; its affine is the identity where the files tell none.
        read: (n,) positions of the maps among those asked for.
        failed: for those that could not be read: id, path, error.
    """

    values: np.ndarray
    mask: np.ndarray
    frame: Frame
    read: np.ndarray
    failed: pd.DataFrame

    @property
    def affine(self) -> np.ndarray:
        """(4, 4), index to millimetres, RAS+."""
        return self.frame.affine

    def volume(self, values: np.ndarray, outside: float = 0.0) -> np.ndarray:
        """Values (V,) of the mask laid out in space, as exact as they are; `outside` everywhere else."""
        found = np.full(self.mask.shape, outside, dtype=values.dtype)
        found[self.mask] = values
        return found

    def within(self, inside: np.ndarray) -> "Maps":
        """The same of the voxels that lie in `inside` (*space) too; the memory of the values serves both."""
        return replace(self, values=_moved(self.values, inside[self.mask]), mask=self.mask & inside)


def list_maps(source: Path, *, names: Sequence[str] = ()) -> tuple[pd.DataFrame, Path]:
    """A row a map, with at least `id` and `map` (its absolute path), and the folder that paths are relative to.

    Args:
        source: a folder that scoring wrote, or its `scores.csv`; another table with `id` and `map` (or `path`); or
            a folder of NIfTI and .npy files, where the id is the file's name without `_anomaly` or `_map` (files
            of other names are left out where there are such).
        names: columns that are text.

    Raises:
        EvaluationError: no maps there, or none but pictures.
    """
    source = Path(source)
    file = source / "scores.csv" if (source / "scores.csv").is_file() else source
    if file.is_dir():
        return _listed(file), file
    table = read_table(file, "maps", names=["map", *names])
    column = next((name for name in ("map", "heatmap", "path") if name in table), None)
    if column is None or "id" not in table:
        raise EvaluationError(f"{file} needs the columns id and map (or path); got {some(table, 12)}")
    check_unique(table["id"], str(file))
    chosen = table[column].map(_data)
    if chosen.isna().all():
        raise EvaluationError(
            f"{file} names no map with numbers in it ({some(table[column].dropna().unique()) or 'none at all'}); "
            "score again with --heatmaps nifti"
        )
    table["map"] = [str((file.parent / each).resolve()) if isinstance(each, str) else None for each in chosen]
    return table, file.parent


def read_maps(table: pd.DataFrame, mask: Path | None = None, smooth: float = 0.0, *, shown: bool = False) -> Maps:
    """The maps of a table with `id` and `map`, each read once; less `map_before` where there is such, over `years`.

    Args:
        mask: an image on the same grid, not zero where voxels count. Voxels that are the same in all maps never do.
        smooth: full width at half maximum of a Gaussian, in mm (in voxels where the files tell no geometry).

    Raises:
        EvaluationError: maps on different grids, none that can be read, no voxel that varies.
    """
    values, kept, failed, astray = np.empty((0, 0), dtype=np.float32), list[int](), list[dict[str, str]](), list[str]()
    first: Image | None = None
    earlier = table[BEFORE].to_numpy() if BEFORE in table else None
    years = table[YEARS].to_numpy(dtype=float) if YEARS in table else None
    with progress("Maps", len(table), unit="maps", shown=shown) as bar:
        for row, (name, path) in enumerate(zip(table["id"], table["map"], strict=True)):
            bar.advance()
            try:
                image = _one_channel(read(Path(path)))
                before = None if earlier is None else _one_channel(read(Path(earlier[row])))
            except UnreadableImage as error:
                failed.append({"id": name, "path": str(path), "error": str(error)})
                continue
            if first is None:
                first = image
                values = np.empty((len(table), image.pixels.size), dtype=np.float32)
            if not same_grid(image, first) or (before is not None and not same_grid(before, first)):
                astray.append(name)
                continue
            if before is not None:
                change = (image.pixels - before.pixels) / (1.0 if years is None else years[row])
                image = replace(image, pixels=change.astype(np.float32))
            values[len(kept)] = _smoothed(image, smooth).reshape(-1)
            kept.append(row)
    if first is None:
        raise EvaluationError(f"none of {len(table)} maps could be read: {failed[0]['error'] if failed else 'no rows'}")
    if astray:
        raise EvaluationError(
            f"{len(astray)} of {len(table)} maps lie on another grid than that of {table['id'].iloc[kept[0]]} "
            f"{first.space} ({some(astray)}); register the images, or prepare them on one grid, before scoring"
            + ("" if earlier is None else ": follow-ups by anomaly register visits")
        )
    values, chosen = _masked(values[: len(kept)], first, mask)
    return Maps(values, chosen, first.frame, np.array(kept), pd.DataFrame(failed, columns=["id", "path", "error"]))


def mean_image(paths: Iterable[str], grid: Maps) -> np.ndarray | None:
    """The mean (*space) of the first images that can be read, from black to white; None where one is off the grid."""
    shown = []
    for path in islice(paths, _SHOWN):
        try:
            pixels = read(Path(path)).pixels.mean(axis=0)
        except UnreadableImage:
            continue
        if pixels.shape != grid.mask.shape:
            return None
        low, high = np.percentile(pixels, (0.5, 99.5))
        shown.append(np.clip((pixels - low) / max(high - low, np.finfo(np.float32).tiny), 0, 1))
    return np.mean(shown, axis=0) if shown else None


def _masked(values: np.ndarray, first: Image, mask: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """The columns that count, moved together within the memory of `values`, and where they lie."""
    chosen = np.ptp(values, axis=0) > 0
    if mask is not None:
        wanted = _one_channel(read(mask))
        if not same_grid(wanted, first):
            raise EvaluationError(
                f"the mask {mask} {wanted.space} lies on another grid than the maps {first.space}; "
                "resample it onto theirs"
            )
        chosen &= wanted.pixels.reshape(-1) != 0
    count = int(chosen.sum())
    if not count:
        raise EvaluationError(f"no voxel{' of the mask' if mask else ''} differs between the {len(values)} maps")
    return _moved(values, chosen), chosen.reshape(first.space)


def _moved(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The chosen columns, moved together within the memory of all."""
    store, count = values.reshape(-1), int(chosen.sum())
    for row in range(len(values)):  # a row is written before where it is read
        store[row * count : (row + 1) * count] = values[row][chosen]
    return store[: len(values) * count].reshape(len(values), count)


def _one_channel(image: Image) -> Image:
    if len(image.pixels) != 1:
        raise UnreadableImage(f"{image.path}: has {len(image.pixels)} channels; a map has one number a voxel")
    return image


def _smoothed(image: Image, smooth: float) -> np.ndarray:
    if smooth <= 0:
        return image.pixels[0]
    sigma = smooth / _FULL_WIDTH / voxel_sizes(image.affine)[: image.ndim]
    return ndimage.gaussian_filter(image.pixels[0], sigma, mode="nearest")


def _listed(folder: Path) -> pd.DataFrame:
    files = [file for file in find(folder, all_of_it=True) if suffix(file) in _FORMATS]
    if not files:
        raise EvaluationError(
            f"{folder} holds no {', '.join(_FORMATS)} files; pictures are no data: score again with --heatmaps nifti"
        )
    table = pd.DataFrame({"id": [file.name[: -len(suffix(file))] for file in files], "map": files})
    marked = table["id"].str.contains(_MAP)
    table = table[marked].reset_index(drop=True) if marked.any() else table
    table = pd.DataFrame({"id": table["id"].str.replace(_MAP, "", regex=True), "map": table["map"].map(str)})
    check_unique(table["id"], str(folder))
    return table


def _data(cell: object) -> str | None:
    """The file with numbers among those a cell names, which scoring parts by semicolons."""
    named = cell.split(";") if isinstance(cell, str) else []
    return next((name for name in named if suffix(Path(name)) in _FORMATS), None)
