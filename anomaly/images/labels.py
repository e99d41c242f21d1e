"""Label maps: which number of a file is which class, on the grid of an image, of a network, and back again.

A class is known by its place: 0 is the background, 1 the first class named, and so on. Files hold numbers of their own
(0, 1, 4 of a tumour; 0 and 255 of a picture), which are kept: what is written later holds the numbers that were read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import nibabel as nib
import numpy as np

from anomaly.errors import AnomalyError, UnreadableImage
from anomaly.files import whole
from anomaly.images.grids import covered, resample
from anomaly.images.image import Image, alone
from anomaly.images.masking import STRAYS, turned
from anomaly.images.names import located
from anomaly.images.pictures import indices, write_grey
from anomaly.images.prepared import Prepared
from anomaly.images.reading import read, suffix
from anomaly.images.segments import is_segmentation, numbers_of_segments, read_segments

MOST = 63
"""Classes beside the background: a file that holds more numbers is an image, or a parcellation to choose from."""
PLACES = 255
"""Classes that places of 8 bits have room for, beside the background."""
EXACT = 2**24
"""From here on neighbouring whole numbers become one in the 32 bits that images are read as."""
LOSSY = (".jpg", ".jpeg")
RENUMBER = "give the regions numbers from 1 on, and save the label maps anew"
SHIFT = STRAYS
"""How far a label map may be shifted against its image, in voxels: a half would smear every edge."""
RESERVED = ("background", "all classes")
"""Names that tables give to what is no class, and to the mean of all."""
NAMED = re.compile(r"^\s*([^=+,]+?)\s*=\s*(\d+(?:\s*\+\s*\d+)*)\s*$")


@dataclass(frozen=True)
class Labels:
    """Which numbers of a label map are which class; what is none of them is background.

    Args:
        names: of the classes, in order; the background has none.
        numbers: of each class, the numbers that files hold for it; the first of them is what is written.

    Raises:
        AnomalyError: no class, more than 255, two of one name, one called "background" or "all classes", or a number
            that is 0, negative, 2^24 or more, or of two classes.
    """

    names: tuple[str, ...]
    numbers: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        every = [number for numbers in self.numbers for number in numbers]
        if not self.names or len(self.names) != len(self.numbers) or not all(self.numbers):
            raise AnomalyError(f"expected a class or more with its numbers, got {self.names} and {self.numbers}")
        if len(self.names) > PLACES:
            raise AnomalyError(f"{len(self.names)} classes were asked for; expected {PLACES} or fewer")
        if twice := sorted({name for name in self.names if self.names.count(name) > 1}):
            raise AnomalyError(f"two classes are called {twice[0]!r}; name them apart")
        if taken := [name for name in self.names if name.strip().casefold() in RESERVED]:
            raise AnomalyError(
                f"a class is called {taken[0]!r}, as "
                + ("what is of no class is" if taken[0].strip().casefold() == RESERVED[0] else "the mean of all is")
                + "; give it another name"
            )
        if odd := [number for number in every if number < 1]:
            raise AnomalyError(f"a class has the number {odd[0]}; 0 is the background, and classes have 1 or more")
        if large := [number for number in every if number >= EXACT]:
            raise AnomalyError(f"a class has the number {large[0]}; expected numbers below {EXACT}: {RENUMBER}")
        if twice_of := sorted({number for number in every if every.count(number) > 1}):
            raise AnomalyError(f"the number {twice_of[0]} is of two classes; give it to one")

    @classmethod
    def asked(cls, text: str) -> Self:
        """`effusion=6,bone=1` or `tumour=1+2+4`; numbers alone, as `1,3`, are named after themselves.

        Raises:
            AnomalyError: a text that says something else.
        """
        names, numbers = [], []
        for part in text.split(","):
            found = NAMED.match(part if "=" in part else f"{part.strip()}={part}")
            if found is None:
                raise AnomalyError(f"expected classes as NAME=NUMBER with commas, or NAME=1+2; got {part.strip()!r}")
            names.append(found[1])
            numbers.append(tuple(int(each) for each in found[2].split("+")))
        return cls(tuple(names), tuple(numbers))

    @classmethod
    def found(cls, held: Iterable[int]) -> Self:
        """A class of each number other than 0, named after it, whether or not numbers are skipped.

        Raises:
            AnomalyError: no number but 0, or so many that this is no label map.
        """
        numbers = sorted({int(number) for number in held} - {0})
        if not numbers:
            raise AnomalyError("label maps hold nothing but 0; expected a class or more that is marked")
        if len(numbers) > MOST:
            raise AnomalyError(
                f"label maps hold {len(numbers)} numbers other than 0 ({numbers[0]} to {numbers[-1]}); more than "
                f"{MOST} are taken for an image: say which are classes, as --classes tumour=1+4,cyst=2"
            )
        return cls(tuple(map(str, numbers)), tuple((number,) for number in numbers))

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """What `as_json` wrote."""
        return cls(tuple(told["names"]), tuple(tuple(each) for each in told["numbers"]))

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return {"names": list(self.names), "numbers": [list(each) for each in self.numbers]}

    @property
    def count(self) -> int:
        """Classes, the background among them."""
        return len(self.names) + 1

    def places(self, values: np.ndarray) -> np.ndarray:
        """Numbers of a file -> places of their classes, uint8; what is no class is background."""
        found = np.zeros(values.shape, dtype=np.uint8)
        for place, numbers in enumerate(self.numbers, start=1):
            found[np.isin(values, numbers)] = place
        return found

    def values(self, places: np.ndarray) -> np.ndarray:
        """Places of classes -> the first number of each, of the smallest type of whole numbers that holds all."""
        table = np.array([0, *(numbers[0] for numbers in self.numbers)])
        return table.astype(np.min_scalar_type(int(table.max())))[places]


def read_labels(path: Path | str, image: Image) -> np.ndarray:
    """The numbers (*space) of a label map in the order of the image's voxels, as int32.

    A label map that holds the same voxels in another order (a NIfTI map beside a DICOM series) is turned as the image
    is. A DICOM segmentation gives the numbers of its segments. Of a picture with a palette the places in it are taken,
    whatever their colours, and 0 and 1 of one with a bit a pixel; of one in grey whose channels are alike one channel.

    Raises:
        UnreadableImage: it cannot be read, is the image itself, was compressed with loss, holds several volumes,
            colours, fractions, negative numbers or such of 2^24 and more, or lies on another grid, be it by a tenth of
            a voxel.
    """
    path = located(Path(path))
    if is_segmentation(path):
        return alone(path, lambda: read_segments(path, image), "read").astype(np.int32)
    found = _read_map(path)
    if found.path == image.path:
        raise UnreadableImage(f"{path}: is named as its own label map; name a file that holds a number for each class")
    values = turned(found, whole_numbers(found), image, what="label map", most=SHIFT)
    return np.ascontiguousarray(values).astype(np.int32)


def numbers_in(path: Path | str) -> frozenset[int]:
    """Which numbers a label map holds, 0 among them where some of it is background.

    Raises:
        UnreadableImage: it cannot be read, or is no label map.
    """
    path = located(Path(path))
    if is_segmentation(path):
        return alone(path, lambda: numbers_of_segments(path), "read")
    return frozenset(np.unique(whole_numbers(_read_map(path))).astype(int).tolist())


def _read_map(path: Path) -> Image:
    """As any image, but for pictures whose pixels are numbers that colours only show."""
    found = read(path)
    numbers = indices(path) if found.kind == "picture" else None
    return found if numbers is None else replace(found, pixels=numbers[None].astype(np.float32))


def whole_numbers(found: Image) -> np.ndarray:
    """The numbers (*space) of a label map as read, float32 whole numbers from 0 on.

    Raises:
        UnreadableImage: it was compressed with loss, or holds several volumes, colours, fractions, negative numbers,
            or numbers of 2^24 and more, which 32 bits of an image do not tell apart.
    """
    path = found.path
    if suffix(path) in LOSSY:
        raise UnreadableImage(
            f"{path}: is a JPEG, whose compression smears numbers; save label maps as PNG, TIFF or NIfTI"
        )
    values = found.pixels[0]
    if any((each != values).any() for each in found.pixels[1:]):
        what = "colours" if found.kind in ("picture", "dicom") else f"{len(found.pixels)} volumes"
        raise UnreadableImage(f"{path}: holds {what}; expected one label map, a number for each class")
    rounded: np.ndarray = np.rint(values)
    if not np.isfinite(values).all() or (values != rounded).any() or values.min() < 0:
        odd = values[~np.isfinite(values) | (values != rounded) | (values < 0)][0]
        raise UnreadableImage(f"{path}: holds {odd:g}; expected whole numbers from 0 on, one for each class")
    if rounded.max() >= EXACT:
        raise UnreadableImage(f"{path}: holds {rounded.max():.0f}; expected numbers below {EXACT}: {RENUMBER}")
    return rounded


def prepared_places(places: np.ndarray, count: int, prepared: Prepared) -> np.ndarray:
    """Places of classes (*space) of an image on the grid of its network, (S, *size) uint8: each pixel's largest share.

    Outside the image, and outside its mask where it has one, is background.

    Args:
        places: on the grid of the source, as `Labels.places` gives them.
        count: of classes, the background among them.
        prepared: the image as the network takes it.
    """
    grid = list(prepared.pixels.shape[2:])
    if prepared.sliced is not None:
        grid.insert(prepared.sliced, prepared.slices)
    best, found = np.full(grid, -1.0, dtype=np.float32), np.zeros(grid, dtype=np.uint8)
    for place in range(count):
        if place and not (places == place).any():
            continue
        share = resample((places == place).astype(np.float32), prepared.matrix, tuple(grid), smooth=True)
        larger = share > best
        best[larger], found[larger] = share[larger], place
    along = covered(prepared.matrix, prepared.source, tuple(grid))
    found[~np.logical_and.reduce(np.meshgrid(*along, indexing="ij"))] = 0
    slices = found[None] if prepared.sliced is None else np.moveaxis(found, prepared.sliced, 0)[prepared.places]
    return np.where(prepared.foreground[:, 0], slices, 0).astype(np.uint8)


def restored_shares(shares: np.ndarray, prepared: Prepared) -> np.ndarray:
    """Probabilities of classes on the grid of a network, (S, K, *size), on that of the source: (K, *space) float32.

    They add up to 1 everywhere; what preprocessing cut away, and what lies outside a mask, is background.
    """
    back = np.stack([prepared.restore(shares[:, k : k + 1]) for k in range(1, shares.shape[1])]).clip(0, 1)
    total = back.sum(0)
    back /= np.maximum(total, 1)
    rest: np.ndarray = 1 - back.sum(0, keepdims=True)
    return np.concatenate([rest.clip(0, 1), back])


def write_labels(stem: Path, image: Image, values: np.ndarray, says: str = "") -> Path:
    """Write a label map on the grid of its image: a PNG in grey of a picture, NIfTI of everything else.

    Args:
        stem: path without its ending.
        image: whose it is.
        values: (*space), whole numbers, as `Labels.values` gives them; their type is that of the file.
        says: what the file is to say of itself, short, in ASCII.

    Returns:
        The path.
    """
    if image.kind == "picture" and values.dtype.itemsize <= 2:
        path = stem.with_name(f"{stem.name}.png")
        write_grey(path, values, says=says)
        return path
    path = stem.with_name(f"{stem.name}.nii.gz")
    file = image.frame.nifti(image.frame.whole(values))
    file.header["descrip"] = says.encode("ascii")
    with whole(path) as part:
        nib.save(file, part)
    return path


def held_by(maps: Sequence[np.ndarray]) -> list[int]:
    """Every number that label maps hold, rising."""
    return sorted({int(number) for each in maps for number in np.unique(each)})
