"""`anomaly synthesize vary`: label maps like those given that nobody has, written as label maps."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd

from anomaly.cohorts.masks import counting
from anomaly.errors import AnomalyError, CohortError, UnreadableImage
from anomaly.files import whole, write_whole
from anomaly.images import Image, read
from anomaly.images.labels import Labels, read_labels
from anomaly.images.pictures import write_grey
from anomaly.progress import progress
from anomaly.shown import Readable
from anomaly.synthesis.applying import read_maps, seed_of
from anomaly.synthesis.mapped import classes_of
from anomaly.synthesis.reading import ITSELF
from anomaly.synthesis.varied import Varying, vary
from anomaly.training.batches import evenly

DONORS = 50
SAYS = "anomaly: label map varied by chance, of nobody"


@dataclass(frozen=True, repr=False)
class Varied(Readable):
    """What a call of `vary_maps` did.

    Args:
        path: the table of the varied maps.
        count: how many.
        errors: the table of label maps that cannot be used, there if there are any.
        failed: how many of these.
    """

    path: Path
    count: int
    errors: Path
    failed: int

    def _in_short(self) -> tuple[str, dict[str, object]]:
        return f"{self.count} varied label maps", {"table": self.path, "errors": self.errors if self.failed else None}


def vary_maps(
    labels: Path | str | pd.DataFrame,
    out: Path | str,
    *,
    column: str | None = None,
    classes: str | None = None,
    lesions: Sequence[str] = (),
    varying: Varying | None = None,
    draws: int = 1,
    seed: int = 0,
    **whose: Any,
) -> Varied:
    """Write label maps like those given that nobody has; this is `anomaly synthesize vary`.

    Writes `ID_varied.png` or `.nii.gz` (`ID-2_varied` of a second one), with the numbers and on the grid of its map,
    and `cohort.csv`: id, path, subject, varied_from, seed. Lesions come from up to 50 maps of other subjects that have
    the same size.

    Args:
        labels, column: see `synthesize`.
        out: gets all that is written; an empty folder, or one that holds the same.
        classes: which numbers are which class; None makes each number its own.
        lesions: classes that may be laid from one map into another, by name.
        varying: what is done, beside the lesions.
        draws: maps of each map.
        seed: of chance; a map has its own by its id.
        whose: subject, subject_pattern, where, match, exclude of `read_cohort`.

    Raises:
        AnomalyError: an unknown class, or fewer draws than 1.
        CohortError: no label map can be used, or `out` holds other ones.
    """
    out = Path(out)
    if draws < 1:
        raise AnomalyError(f"draws is {draws}; give 1 or more")
    cohort = counting(read_maps(labels, column=column, **whose))
    known, _ = classes_of(list(cohort["path"]), classes)
    if strange := [name for name in lesions if name not in known.names]:
        raise AnomalyError(f"there is no class {strange[0]!r} to lay in; classes are {', '.join(known.names)}")
    varying = dataclasses.replace(
        varying or Varying(), lesions=tuple(1 + known.names.index(name) for name in lesions)
    )  # fmt: skip
    _claim(out, {"varying": dataclasses.asdict(varying), "classes": known.as_json(), "draws": draws, "seed": seed})
    rows: list[Any] = cohort.to_dict("records")
    made, failed = list[dict[str, Any]](), list[dict[str, Any]]()
    pool = _donors(rows, known) if varying.lesions else []
    with progress("varying", len(rows), unit="label maps") as bar:
        for row in rows:
            try:
                image, values = _read(row["path"])
                donors = [each for whose, each in pool if whose != row["subject"] and each.shape == image.space]
                for k in range(draws):
                    made.append(_one(out, row, image, values, known, varying, donors, seed_of(seed, row["id"], k), k))
            except UnreadableImage as error:
                failed.append({"id": row["id"], "path": row["path"], "error": str(error)})
            bar.advance()
    errors = out / "errors.csv"
    errors.unlink(missing_ok=True)
    if failed:
        write_whole(errors, pd.DataFrame(failed).to_csv(index=False))
    if not made:
        raise CohortError(f"none of the {len(rows)} label maps can be used; the first: {failed[0]['error']}")
    write_whole(out / "cohort.csv", pd.DataFrame(made).to_csv(index=False))
    return Varied(out / "cohort.csv", len(made), errors, len(failed))


def write_labels(stem: Path, values: np.ndarray, image: Image, says: str) -> Path:
    """Write whole numbers (*space) on the grid of an image: PNG of a picture where 8 bits hold them, else NIfTI."""
    if image.kind == "picture" and values.max() < 256:
        path = stem.with_name(f"{stem.name}.png")
        write_grey(path, values.astype(np.uint8), says=says)
        return path
    path = stem.with_name(f"{stem.name}.nii.gz")
    frame = image.frame
    file = frame.nifti(frame.whole(values.astype(np.int32 if values.max() >= 2**15 else np.int16)))
    file.header["descrip"] = says.encode("ascii")
    with whole(path) as part:
        nib.save(file, part)
    return path


def _one(
    out: Path,
    row: dict[str, Any],
    image: Image,
    values: np.ndarray,
    labels: Labels,
    varying: Varying,
    donors: Sequence[np.ndarray],
    seed: int,
    draw: int,
) -> dict[str, Any]:
    """One varied map, written; numbers that are no class are background."""
    random = np.random.default_rng(seed)
    places = labels.places(values)
    name = str(row["id"]) if draw == 0 else f"{row['id']}-{draw + 1}"
    stem = out / f"{name}_varied"
    found = labels.values(vary(places, random, varying, donors))
    path = next((each for end in (".png", ".nii.gz") if (each := stem.with_name(stem.name + end)).exists()), None)
    path = path or write_labels(stem, found, image, SAYS)
    return {"id": name, "path": path.name, "subject": row["subject"], "varied_from": row["path"], "seed": seed}


def _read(path: str) -> tuple[Image, np.ndarray]:
    image = read(Path(path))
    return image, read_labels(image.path, dataclasses.replace(image, path=Path(ITSELF.format(image.path.name))))


def _donors(rows: Sequence[Any], labels: Labels) -> list[tuple[str, np.ndarray]]:
    """Subjects and maps of at most 50 rows, evenly spread."""
    found = list[tuple[str, np.ndarray]]()
    for k in evenly(len(rows), DONORS):
        try:
            found.append((rows[k]["subject"], labels.places(_read(rows[k]["path"])[1])))
        except UnreadableImage:
            continue  # told where it is varied itself
    return found


def _claim(out: Path, settings: dict[str, Any]) -> None:
    path, told = out / "varied.json", json.dumps(settings, indent=1) + "\n"
    if path.is_file() and path.read_text(encoding="utf-8") != told:
        raise CohortError(f"{out} holds label maps varied otherwise; choose another --out, or the same settings")
    if not path.is_file() and out.is_dir() and any(out.iterdir()):
        raise CohortError(f"{out} is not empty and holds no varied label maps; choose another --out")
    write_whole(path, told)
