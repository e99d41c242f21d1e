"""Draw new images from a run: which ones, into which files, beside which real ones."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from anomaly.cohorts.classes import CLASS, Classes, chosen
from anomaly.cohorts.masks import Given
from anomaly.detectors import DETECTORS
from anomaly.errors import AnomalyError, RunError
from anomaly.files import bare, write_whole
from anomaly.generation.comparison import Real, compare, most_of, open_features, read_real, real_cohort, sliced
from anomaly.generation.synthesis import tabulated
from anomaly.images import write_volume
from anomaly.images.arrays import write_array
from anomaly.images.finding import Globs
from anomaly.images.pictures import write_grey
from anomaly.images.preprocessing import Preprocessing
from anomaly.progress import progress
from anomaly.runs.previews import MOST_CLASSES, generated_sheet
from anomaly.runs.run import Run
from anomaly.shown import Readable, several, unread
from anomaly.training.batches import passes

FOLDER, TABLE, FACTS, MEASURES, SHEET = "images", "generated.csv", "generated.json", "synthesis.csv", "sheet.png"
NAME = re.compile(r"(generated_([0-9]{5,}))\.(?:png|npy|nii\.gz)$")


@dataclass(frozen=True, repr=False)
class Generated(Readable):
    """What a call of `generate` did.

    Args:
        folder: holds everything; the images alone lie in its folder `images`.
        table: `generated.csv`: id, path, number, seed, run, and class where there are any; a cohort like any other.
        measures: as in `synthesis.csv`: measure, features, generated, real_against_real, n_generated, n_real, note.
        sentences: the measures in plain words.
        new: images drawn now.
        before: images from an earlier call.
        unreadable: real images that could not be used; `errors.csv` names them.
    """

    folder: Path
    table: Path
    measures: pd.DataFrame
    sentences: tuple[str, ...]
    new: int
    before: int
    unreadable: int

    def _in_short(self) -> tuple[str, dict[str, object]]:
        return f"{self.new} images new, {self.before} from before", {
            "measures": several(map(_measured, self.measures.itertuples())),
            "table": self.table,
            "sheet": self.folder / SHEET,
            "unreadable": unread(self.unreadable, "real ones", self.folder / "errors.csv"),
        }


def generate(
    run: Path | str,
    out: Path | str,
    *,
    count: int = 64,
    seed: int = 0,
    classes: Sequence[str] | str = (),
    real: Path | str | pd.DataFrame | None = None,
    subject: str | None = None,
    subject_pattern: str | None = None,
    where: Mapping[str, str] | None = None,
    match: Globs = None,
    exclude: Globs = None,
    mask: Given = None,
    features: Path | str | None = None,
    pairs: int = 1000,
    batch: int = 32,
    device: str = "auto",
    method: str | None = None,
) -> Generated:
    """Draw new images from a run, and measure them against real ones; this is `anomaly generate`.

    Image number i follows from the run, the seed, i, and its class where the run learned any: of K classes that are
    drawn, in the run's own order, it is number i mod K. A second call draws only what is missing, so a larger count
    adds images. Pictures become PNG of 8 bits (grey, or three channels as colours), volumes NIfTI of 32
    bits with the spacing and orientation that the run prepares images to (1 mm where it sets none); other numbers of
    channels become `.npy`. Slices of volumes are stored on the grid that the run knows them on, and shown upright
    in `sheet.png` alone, which holds generated images above real ones.

    Measured are at most 1000 images of a kind, and at most 512 MiB: diversity, likeness to real images on named
    features (MMD^2, Frechet distance, KID), and novelty; see `anomaly.generation.synthesis`. New images are of all
    classes alike, real ones as they come, so where these say their class, Frechet distances within each class stand
    beside.

    Args:
        run: folder of a run whose method generates.
        out: gets `images/`, `generated.csv`, `sheet.png` and `synthesis.csv`; other commands take `out` or
            `out/generated.csv` as images, without the sheet.
        count: images there are to be, those of earlier calls counted.
        seed: of the codes, 0 or more.
        classes: draw these alone, of a run that learned classes apart; none given takes all. Real images that say
            their class, in the column that the run learned by, are then of these classes too.
        real: folder or table of real images to compare with, without subjects the run was trained on; None takes
            the normals that the run held out to choose by. Those that calibrate it are touched once, and not here.
        subject, subject_pattern, where, match, exclude, mask: of these images, see `read_cohort`.
        features: another run, whose codes of images are compared; None takes principal components of the
            images that `run` was trained on.
        pairs: of images whose likeness is measured, at most.
        batch: images drawn at once.
        device: "auto", "cpu", "cuda", ...
        method: FILE.py:CLASS again, for a user's own method.

    Raises:
        AnomalyError: numbers out of range, a method that does not generate, classes that the run does not have, or
            features that do not fit.
        RunError: a run that cannot be used, or an `out` that holds something else.
        CohortError: real images that cannot be used.
    """
    out = Path(out)
    _check(count=count, pairs=pairs, batch=batch, seed=seed)
    opened = Run.open(run, device=device, method=method).refuse_context()
    if not opened.detector.generates:
        able = ", ".join(name for name, cls in DETECTORS.items() if cls.generates)
        raise AnomalyError(f"{run} is a run of {opened.detector.name}, which draws no new images; train one of {able}")
    names = chosen(Classes.of(opened.facts), classes, opened.folder)
    other = None if features is None else open_features(opened, features, device=device)
    cohort = real_cohort(
        opened, real, classes=names if classes else (), subject=subject, subject_pattern=subject_pattern, where=where,
        match=match, exclude=exclude, mask=mask,
    )  # fmt: skip
    _claim(out, opened, seed, names)
    shape = opened.detector.shape_
    images = np.empty((min(count, most_of(shape)), *shape), dtype=np.float32)
    new = _write_missing(opened, out, images, count, seed, batch, names)
    for numbers, pixels in draw(opened, sorted({*range(len(images))} - {*new}), seed, batch, names):
        images[list(numbers)] = pixels
    there = read_real(opened, cohort, out)
    of = np.resize(names, len(images)) if names else None
    affine = opened.preprocessing.grid(images.shape[2:]) if images.ndim == 5 else None
    generated_sheet(
        out / SHEET, images, there.reference, title=_title(opened, seed, there, names), affine=affine,
        slices=sliced(opened), classes=of, real_classes=there.classes,
    )  # fmt: skip
    found = compare(images, there, features=other, pairs=pairs, classes=of)
    measures = tabulated(found)
    write_whole(out / MEASURES, measures.to_csv(index=False))
    sentences = tuple(each.sentence for each in found)
    return Generated(out, out / TABLE, measures, sentences, len(new), count - len(new), there.unreadable)


def draw(
    run: Run, numbers: Sequence[int], seed: int, batch: int = 32, classes: Sequence[str] = ()
) -> Iterator[tuple[Sequence[int], np.ndarray]]:
    """Images by their numbers, at most `batch` at once: numbers and pixels (n, C, *space) float32 in [-1, 1].

    Noise i is `default_rng([seed, i]).standard_normal(latent)`, whatever the batch it is drawn in. Where the run
    learned classes, image i is of number i mod K of the K in `classes`, in the run's order; none given takes all.

    Raises:
        AnomalyError: the run does not have these classes.
        RunError: the run draws NaN or infinite values.
    """
    taught = Classes.of(run.facts)
    names = chosen(taught, classes, run.folder)
    order = [taught.names.index(name) for name in names] if taught else []
    detector = run.detector
    latent = detector.latent  # type: ignore[attr-defined]  # every method that generates has it
    batch = min(batch, passes(detector.shape_))
    for start in range(0, len(numbers), batch):
        part = numbers[start : start + batch]
        noise = np.stack([np.random.default_rng([seed, i]).standard_normal(latent) for i in part])
        of = torch.tensor([order[i % len(order)] for i in part], device=detector.device) if order else None
        with torch.no_grad():
            code = detector.mapped(torch.from_numpy(noise).float().to(detector.device), of)
            drawn = detector.decode(code)
        pixels = drawn.float().clamp(-1, 1).cpu().numpy()
        if not np.isfinite(pixels).all():
            raise RunError(f"{run.folder} draws NaN or infinite values in images {part[0]} to {part[-1]}; train again")
        yield part, pixels


def _measured(row: Any) -> str:
    """A measure in short, with that of real images where there is one: "kid 0.012 (real 0.001)"."""
    real = "" if np.isnan(row.real_against_real) else f" (real {row.real_against_real:.3g})"
    return f"{row.measure} {row.generated:.3g}{real}"


def _check(**numbers: int) -> None:
    for name, value in numbers.items():
        least = 0 if name == "seed" else 1
        if value < least:
            raise AnomalyError(f"{name} must be {least} or more, got {value}")


def _title(run: Run, seed: int, there: Real, names: Sequence[str]) -> str:
    """What the sheet shows, in a line."""
    title = f"{run.detector.name}, seed {seed}: new images"
    if len(there.reference):
        title += " above real ones it was not trained on"
    if names:
        title += ", class by class" + (f" ({MOST_CLASSES} of {len(names)})" if len(names) > MOST_CLASSES else "")
    return title


def _claim(out: Path, run: Run, seed: int, names: Sequence[str]) -> None:
    """Make the folder ours, or say why it cannot be."""
    facts = {"run": run.identity, "method": run.detector.name, "seed": seed, "classes": list(names)}
    path = out / FACTS
    if not path.exists():
        if out.exists() and (not out.is_dir() or not bare(out)):
            raise RunError(f"{out} is not empty and holds no generated images; choose another --out")
        write_whole(path, json.dumps(facts, indent=1) + "\n")
        return
    try:
        before = {name: {"classes": [], **json.loads(path.read_text())}[name] for name in facts}
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} cannot be read ({error!r}); remove the folder, or choose another --out") from error
    changed = [f"{name} {before[name]} there, {now} asked for" for name, now in facts.items() if now != before[name]]
    if changed:
        raise RunError(f"{out} holds images drawn otherwise ({'; '.join(changed)}); choose another --out")


def _write_missing(
    run: Run, out: Path, images: np.ndarray, count: int, seed: int, batch: int, names: Sequence[str]
) -> list[int]:
    """Draw and write the images that are not there yet, and keep those that `images` has room for; their numbers.

    The table is written also when this is stopped, and tells what is there then.
    """
    suffix = _suffix(run.detector.shape_)
    missing = [i for i in range(count) if not (out / _name(i, suffix)).exists()]
    try:
        with progress("drawing", count, done=count - len(missing), unit="images") as bar:
            for numbers, pixels in draw(run, missing, seed, batch, names):
                for number, image in zip(numbers, pixels, strict=True):
                    _write(out / _name(number, suffix), image, run.preprocessing)
                    if number < len(images):
                        images[number] = image
                bar.advance(len(numbers))
    finally:
        _write_table(out, run, seed, names)
    return missing


def _write(path: Path, image: np.ndarray, preprocessing: Preprocessing) -> None:
    """Write (C, *space) in [-1, 1] in the format that the name says."""
    if path.suffix == ".png":
        grey = np.rint((image + 1) * 127.5).astype(np.uint8)
        write_grey(path, grey[0] if len(grey) == 1 else np.moveaxis(grey, 0, -1))
    elif path.suffix == ".npy":  # channels first; a last axis of 1 tells them from slices
        write_array(path, image if image.ndim == 4 else image[..., None])
    else:
        write_volume(path, image[0], preprocessing.grid(image.shape[1:]))


def _write_table(out: Path, run: Run, seed: int, classes: Sequence[str]) -> None:
    """Tell of every image that is there."""
    names = (NAME.match(path.name) for path in (out / FOLDER).iterdir()) if (out / FOLDER).is_dir() else ()
    paths = sorted(((int(name[2]), name) for name in names if name), key=lambda each: each[0])
    rows = [
        {"id": name[1], "path": f"{FOLDER}/{name[0]}", "number": number, "seed": seed, "run": run.identity}
        for number, name in paths
    ]
    if rows:
        table = pd.DataFrame(rows)
        if classes:
            table[CLASS] = [classes[number % len(classes)] for number in table["number"]]
        write_whole(out / TABLE, table.to_csv(index=False))


def _suffix(shape: tuple[int, ...]) -> str:
    channels, dims = shape[0], len(shape) - 1
    if dims == 2 and channels in (1, 3):
        return ".png"
    return ".nii.gz" if dims == 3 and channels == 1 else ".npy"


def _name(number: int, suffix: str) -> str:
    return f"{FOLDER}/generated_{number:05d}{suffix}"
