"""Persons seen twice, whose lesions grow or shrink by signs that are partly there to be seen at the first visit."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from anomaly.errors import CohortError
from anomaly.files import write_whole
from anomaly.images.nifti import write_volume
from anomaly.images.pictures import write_grey
from anomaly.progress import progress
from anomaly.simulation.evolving_notes import ABOUT, NOTES
from anomaly.simulation.folders import claim, write_sheet, write_truth
from anomaly.simulation.toys import SHARES, SHOWN

FEWEST, SMALLEST = 20, 24
BRIGHTNESS = {"plain": 0.22, "rim": 0.22, "faint": 0.12}
RIM = 0.22
"""What a lesion adds to the tissue in the middle, and its rim, if it has one, on top."""
STABLE, OBEYS = 0.2, 0.9
"""Share of persons whose lesions stay, and of the other lesions that go the way their look says."""
GROWS, SHRINKS, STAYS = (0.10, 0.30), (0.15, 0.35), 0.02
"""By what share of its radius a lesion grows or shrinks in a year, from and to; the SD of one that stays."""
RADII, LESIONS = (0.05, 0.11), (1, 4)
"""Radii in sides of the image, and lesions a person."""
EDGE, NOISE, TEXTURE = 0.8, 0.03, 0.05
"""Pixels over which a map falls; SD of the noise of maps and images, and of tissue."""
YEARS = (1, 2)
THRESHOLD = 0.5


@dataclass(frozen=True)
class Lesion:
    """An ellipsoid: centre and semi-axes in pixels at the first visit, look, and its radius then as a share of now."""

    centre: np.ndarray
    axes: np.ndarray
    look: str
    factor: float

    def distance(self, grid: np.ndarray, factor: float = 1.0) -> np.ndarray:
        """How far the pixels of a grid (dims, *space) are beyond its edge, in pixels, about; negative inside."""
        shape = (-1, *[1] * (grid.ndim - 1))
        far = np.sqrt((((grid - self.centre.reshape(shape)) / self.axes.reshape(shape)) ** 2).sum(0))
        found: np.ndarray = (far - factor) * float(np.mean(self.axes))
        return found


@dataclass(frozen=True)
class Visit:
    """Image, map and mask of one visit, each (*space): float32 in [0, 1] twice, and bool."""

    image: np.ndarray
    map: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class Person:
    """One person: years between the visits, lesions, whether all of them stay, and the stream both visits come from."""

    years: int
    lesions: tuple[Lesion, ...]
    stable: bool
    rng: np.random.Generator = field(compare=False)


def simulate_evolving(out: Path, *, persons: int = 400, dims: int = 2, size: int = 64, seed: int = 0) -> Path:
    """Draw persons seen twice, whose lesions grow where they have a bright rim and shrink where they are faint, mostly.

    Beside image and map (what a segmentation might say, 0 to 1) of both visits stands the true mask, and in the table
    the volumes of both. 90 % of the lesions with a sign go the way it says; nobody can see the rest. A fifth of the
    persons have plain lesions, which stay. `truth.json` tells what could be said knowing the signs alone: the ceiling.

    Args:
        out: gets `cohort.csv`, `truth.json`, `README.txt`, `preview.png`, `images/`, `maps/` and `masks/`.
        persons: of whom 64 % are to train, 16 % to choose and 20 % to test by; 20 or more.
        dims: 2 (PNG) or 3 (NIfTI, of 1 mm).
        size: pixels a side; 24 or more.
        seed: 0 or more; the same seed gives the same bytes.

    Raises:
        CohortError: settings out of range, or a folder that holds another simulation.
    """
    for name, value, least in (("persons", persons, FEWEST), ("size", size, SMALLEST), ("seed", seed, 0)):
        if value < least:
            raise CohortError(f"{name} is {value}; expected {least} or more")
    if dims not in (2, 3):
        raise CohortError(f"dims is {dims}; expected 2 or 3")
    out = Path(out)
    settings = {"kind": "evolving", "persons": persons, "dims": dims, "size": size, "seed": seed}
    claim(out, settings)
    rows: list[dict[str, Any]] = []
    shown: dict[str, list[np.ndarray]] = {"now": [], "map now": [], "map then": []}
    places = _places(persons)
    with progress("drawing evolving", len(places), unit="persons") as bar:
        for part, index in places:
            person = drawn_person(part, index, dims=dims, size=size, seed=seed)
            visits = drawn_visits(person, dims=dims, size=size)
            rows += _written(out, part, index, person, visits, dims)
            if part == "test" and len(shown["now"]) < SHOWN:
                for name, picture in zip(shown, (visits[0].image, visits[0].map, visits[1].map), strict=True):
                    shown[name].append(picture if dims == 2 else picture[..., size // 2])
            bar.advance()
    write_sheet(out / "preview.png", shown, "evolving, nobody's images")
    table = pd.DataFrame(rows)
    path = out / "cohort.csv"
    write_whole(path, table.to_csv(index=False))
    write_truth(out, settings, {"notes": NOTES, "oracle": ceiling(table)})
    write_whole(out / "README.txt", ABOUT.format(persons=persons))
    return path


def drawn_person(part: str, index: int, *, dims: int, size: int, seed: int) -> Person:
    """Person `index` of a part: lesions that do not meet, with their looks and what becomes of them."""
    rng = np.random.default_rng([seed, list(SHARES).index(part), index, dims])
    years, stable, rims = int(rng.choice(YEARS)), bool(rng.random() < STABLE), rng.beta(0.5, 0.5)
    lesions: list[Lesion] = []
    for _ in range(int(rng.integers(LESIONS[0], LESIONS[1] + 1))):
        look = "plain" if stable else "rim" if rng.random() < rims else "faint"
        found = _placed(rng, lesions, dims, size)
        factor = _factor(rng, look, years)
        if found is not None:
            lesions.append(Lesion(*found, look, factor))
    return Person(years, tuple(lesions), stable, rng)


def drawn_visits(person: Person, *, dims: int, size: int) -> tuple[Visit, Visit]:
    """Both visits of a person: the same tissue, the lesions as they were and as they became, noise anew."""
    rng, grid = person.rng, np.indices((size,) * dims).astype(float)
    tissue = 0.4 + TEXTURE * _smooth(rng, grid.shape[1:], 0.06 * size)
    found = []
    for then in (False, True):
        image, likely, mask = tissue.copy(), np.zeros(grid.shape[1:]), np.zeros(grid.shape[1:], dtype=bool)
        for lesion in person.lesions:
            far = lesion.distance(grid, lesion.factor if then else 1.0)
            weight = 1 / (1 + np.exp(np.clip(far / EDGE, -50, 50)))
            likely, mask = np.maximum(likely, weight), mask | (far < 0)
            image += BRIGHTNESS[lesion.look] * weight
            if lesion.look == "rim":
                image += RIM * np.exp(-0.5 * ((far + 1) / 1.2) ** 2)
        image += NOISE * rng.standard_normal(image.shape)
        likely += NOISE * _smooth(rng, likely.shape, 1.0)
        bright, seen = (each.clip(0, 1).astype(np.float32) for each in (image, likely))
        found.append(Visit(bright, seen, mask))
    return found[0], found[1]


def expected_ratio(look: str, years: int, dims: int) -> float:
    """The volume at the next visit as a share of that now, in the mean, of a lesion of this look."""

    def mean(low: float, high: float) -> float:  # of (1 + u)^dims, u uniform
        return float(((1 + high) ** (dims + 1) - (1 + low) ** (dims + 1)) / ((dims + 1) * (high - low)))

    if look == "plain":
        return 1 + dims * (dims - 1) / 2 * STAYS**2
    chance = OBEYS if look == "rim" else 1 - OBEYS
    up, down = mean(years * GROWS[0], years * GROWS[1]), mean(-years * SHRINKS[1], -years * SHRINKS[0])
    return chance * up + (1 - chance) * down


def ceiling(table: pd.DataFrame, least: float = 0.0) -> dict[str, Any]:
    """What knowing the looks of the lesions, their sizes and the years says of the persons in test.

    Judged as a forecast is: all persons, also those whose lesions stay, by how the volume of the map changes.

    Args:
        table: the cohort.
        least: changes of the map's volume of this size or smaller are neither growth nor shrinkage.
    """
    told = table[(table["split"] == "test") & table["map_change"].notna()]
    change, expected = (told[name].to_numpy(float) for name in ("map_change", "expected_change"))
    moving, off = np.abs(change) > least, expected - change
    right = np.sign(expected) == np.sign(change)
    return {
        "persons": len(told),
        "least": least,
        "judged": int(moving.sum()),
        "accuracy": _rounded(right[moving].mean()) if moving.any() else None,
        "absolute_error": _rounded(np.abs(off).mean()),
        "volume_error_mean": _rounded(off.mean()),
        "volume_error_sd": _rounded(off.std(ddof=1)),
    }


def _rounded(value: float) -> float:
    return round(float(value), 4)


def _places(persons: int) -> list[tuple[str, int]]:
    parts = {name: round(share * persons) for name, share in SHARES.items()}
    parts["train"] += persons - sum(parts.values())
    return [(part, index) for part, many in parts.items() for index in range(many)]


def _placed(
    rng: np.random.Generator, others: list[Lesion], dims: int, size: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Centre and semi-axes of one more lesion that has room to grow, or None where no place was found."""
    for _ in range(50):
        axes = rng.uniform(*RADII) * size * rng.uniform(0.85, 1.15, dims)
        room = 1.7 * axes.max() + 2
        centre = rng.uniform(room, size - 1 - room, dims) if 2 * room < size - 1 else np.full(dims, (size - 1) / 2)
        if all(np.linalg.norm(centre - each.centre) > room + 1.7 * each.axes.max() for each in others):
            return centre, axes
    return None


def _factor(rng: np.random.Generator, look: str, years: int) -> float:
    """What becomes of the radius of a lesion."""
    obeys = rng.random() < OBEYS
    up, down, stays = rng.uniform(*GROWS), rng.uniform(*SHRINKS), rng.normal(0, STAYS)
    if look == "plain":
        return float(1 + stays)
    return float(1 + years * up if (look == "rim") == obeys else 1 - years * down)


def _smooth(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> np.ndarray:
    """Smooth noise of standard deviation 1."""
    field_ = ndimage.gaussian_filter(rng.standard_normal(shape), sigma, mode="wrap")
    found: np.ndarray = (field_ - field_.mean()) / field_.std()
    return found


def _expected(person: Person, dims: int) -> float:
    """The change of the volume of all lesions in pixels, in the mean, by the formula of ellipsoids."""
    ball = np.pi if dims == 2 else 4 / 3 * np.pi
    each = (ball * np.prod(one.axes) * (expected_ratio(one.look, person.years, dims) - 1) for one in person.lesions)
    return float(sum(each))


def _written(
    out: Path, part: str, index: int, person: Person, visits: tuple[Visit, Visit], dims: int
) -> list[dict[str, Any]]:
    """Write the files of both visits, where they are not there yet, and give their rows."""
    subject, rows = f"sim-{part}-{index:05d}", []
    volumes = [int(visit.mask.sum()) for visit in visits]
    seen = [int((_stored(visit.map) > THRESHOLD).sum()) for visit in visits]
    expected = _expected(person, dims)
    for k, visit in enumerate(visits):
        name = f"{subject}-v{k}"
        contents = {"path": ("images", visit.image), "map": ("maps", visit.map), "mask": ("masks", visit.mask)}
        files = {
            column: f"{folder}/{name}{'.png' if dims == 2 else '.nii.gz'}" for column, (folder, _) in contents.items()
        }
        for column, (_, values) in contents.items():
            if not (out / files[column]).exists():
                _write(out / files[column], values)
        row = {"id": name, "path": files["path"], "subject": subject, "visit_years": k * person.years}
        row |= {"split": part, "map": files["map"], "mask": files["mask"], "volume": volumes[k], "map_volume": seen[k]}
        row |= {"stable": int(person.stable), "lesions": len(person.lesions)}
        row |= {"change": volumes[1] - volumes[0], "expected_change": round(expected, 3)} if k else {}
        row |= {"map_change": seen[1] - seen[0]} if k else {}
        rows.append({**row, "simulated": 1})
    return rows


def _stored(values: np.ndarray) -> np.ndarray:
    """The values of a map as its file holds them: 8 bits of a picture."""
    return values if values.ndim == 3 else np.rint(255 * values) / 255


def _write(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if values.ndim == 3:
        write_volume(path, values.astype(np.float32), np.eye(4), says="simulated")
    else:
        write_grey(path, values if values.dtype == bool else np.rint(255 * values).astype(np.uint8), says="simulated")
