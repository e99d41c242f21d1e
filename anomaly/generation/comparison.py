"""Generated images of a run beside real ones: which real ones, read as the run reads them, and on which features."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from anomaly.cohorts.classes import CLASS, Classes
from anomaly.cohorts.cohort import FILE_NAMES, NO_SUBJECTS, TELL_APART, read_cohort
from anomaly.cohorts.masks import COLUMN as MASK
from anomaly.cohorts.masks import Given, suited
from anomaly.cohorts.results import some
from anomaly.detectors import PCA, Detector
from anomaly.errors import AnomalyError, CohortError
from anomaly.generation.synthesis import FEW, Measure, diversity, likenesses, novelty
from anomaly.images.caching import CachedImages, cache_images
from anomaly.images.finding import Globs
from anomaly.runs.run import Run
from anomaly.training.batches import chunks

logger = logging.getLogger(__name__)
MOST, MOST_BYTES = 1000, 512 * 2**20
"""Of training images, of held-out ones and of generated ones, each, so that memory stays bounded."""
COMPONENTS = 64
READING = ".reading"  # hidden, so that nobody takes what lies in it for images


@dataclass(frozen=True)
class Real:
    """Real images as a run reads them, at most `most_of` each.

    Args:
        train: images it was trained on, (n, C, *space); none where their files are gone.
        reference: images to compare with, not trained on.
        subjects: whose each of these is.
        unreadable: files that could not be used.
        classes: the name of the class of each of `reference`, empty where it is not known; None where none is.
    """

    train: np.ndarray
    reference: np.ndarray
    subjects: np.ndarray
    unreadable: int = 0
    classes: np.ndarray | None = None


def sliced(run: Run) -> bool:
    """Whether what the run knows are slices of volumes."""
    return bool((run.normals["slices"].astype(int) > 1).any())


def most_of(shape: tuple[int, ...]) -> int:
    """How many images of shape (C, *space) are looked at: 1000, or what 512 MiB hold."""
    return max(1, min(MOST, MOST_BYTES // (4 * int(np.prod(shape)))))


def real_cohort(
    run: Run,
    real: Path | str | pd.DataFrame | None,
    *,
    classes: Sequence[str] = (),
    subject: str | None = None,
    subject_pattern: str | None = None,
    where: Mapping[str, str] | None = None,
    match: Globs = None,
    exclude: Globs = None,
    mask: Given = None,
) -> pd.DataFrame:
    """Which real images there are: id, path, subject, and split, "train" or "reference"; at most `most_of` of each.

    Where the run learned classes, a column `class` names that of an image, or is empty.

    Args:
        run: gives the images it was trained on, and by default, as the reference, the normals it held out to choose
            by. Those that calibrate it are left alone.
        real: a folder or table to take as the reference instead; subjects the run was trained on are left out.
        classes: take as the reference those of these classes alone, where it is known who is of which.
        subject, subject_pattern, where, match, exclude, mask: of `real`, see `read_cohort`.

    Raises:
        CohortError: `real` cannot be used, or shows nobody but subjects that were trained on.
        AnomalyError: one of these without `real`.
    """
    options: dict[str, Any] = {"subject": subject, "subject_pattern": subject_pattern, "where": where}
    options |= {"match": match, "exclude": exclude, "mask": mask}
    given = [name for name, value in options.items() if value]
    if given and real is None:
        raise AnomalyError(f"{' and '.join(given)} without real images; give these too, by real")
    known = run.normals
    train = _there(known[known["split"] == "train"], "images to train on")
    if real is None:
        reference = _there(known[known["split"] == "choose"], "normals held out to choose by")
    else:
        cohort = suited(read_cohort(real, **options), mask, run.preprocessing.mask, str(run.folder))
        reference = _new(run, cohort)
    columns = ["id", "path", "subject", *([MASK] if MASK in known else [])]
    most, taught = most_of(run.detector.shape_), Classes.of(run.facts)
    if taught is not None:
        columns.append(CLASS)
        by = taught if real is not None else Classes(CLASS, taught.names)  # as `cohort.csv` names them
        reference = by.among(reference, classes)
    parts = {"train": train, "reference": reference}
    picked = [_picked(rows[columns], most).assign(split=name) for name, rows in parts.items()]
    return pd.concat(picked, ignore_index=True)


def read_real(run: Run, cohort: pd.DataFrame, out: Path) -> Real:
    """Read these images through the run's own preprocessing; `errors.csv` in `out` names those that cannot be used.

    Raises:
        CohortError: none can be read, or they come out in another shape than the run's.
    """
    shape = run.detector.shape_
    if cohort.empty:
        empty = np.empty((0, *shape), dtype=np.float32)
        return Real(empty, empty, np.empty(0, dtype=str))
    shutil.rmtree(out / READING, ignore_errors=True)
    try:
        (out / READING).mkdir(parents=True)
        cache_images(cohort, run.preprocessing, out / READING)
        cached = CachedImages.open(out / READING)
        if cached.pixels.shape[1:] != shape:
            raise CohortError(f"real images have shape {cached.pixels.shape[1:]} (C, *space), the run expects {shape}")
        (train, _), (reference, rows) = (_few(cached, name, most_of(shape)) for name in ("train", "reference"))
        classes = rows[CLASS].to_numpy(dtype=str) if CLASS in rows and (rows[CLASS] != "").any() else None
        return Real(train, reference, rows["subject"].to_numpy(dtype=str), cached.unreadable, classes)
    finally:
        shutil.rmtree(out / READING, ignore_errors=True)


def open_features(run: Run, features: Path | str, *, device: str = "cpu") -> Run:
    """Another run whose codes are to be compared.

    Raises:
        RunError: there is none.
        AnomalyError: it has no codes, or prepares images in another way than `run`.
    """
    other = Run.open(features, device=device).refuse_context()
    if type(other.detector).encode is Detector.encode:
        raise AnomalyError(f"{other.folder} has no codes of images: its method is {other.detector.name}; give another")
    ours, theirs = run.facts["preprocessing"], other.facts["preprocessing"]
    differ = [f"{name} {theirs.get(name)}, expected {each}" for name, each in ours.items() if theirs.get(name) != each]
    if differ or other.detector.shape_ != run.detector.shape_:
        told = "; ".join(differ) or f"shape {other.detector.shape_}, expected {run.detector.shape_}"
        raise AnomalyError(f"{other.folder} was trained on images prepared otherwise ({told}); train one alike")
    return other


def compare(
    generated: np.ndarray,
    real: Real,
    *,
    features: Run | None,
    pairs: int,
    seed: int = 0,
    classes: np.ndarray | None = None,
) -> list[Measure]:
    """All measures that the real images at hand allow; a warning names those that are left out.

    Args:
        generated: images (n, C, *space).
        real: what to compare with.
        features: a run whose codes are compared; None takes principal components of the training images.
        pairs: of images, at most.
        seed: of pairs and halves.
        classes: the name of the class of each generated image; adds a Frechet distance for each class.
    """
    if len(generated) < 2:
        logger.warning("one image alone cannot be measured; give a larger --count")
        return []
    found = [diversity(generated, real.reference, real.subjects, pairs=pairs, seed=seed)]
    if not len(real.reference):
        logger.warning("no real images are at hand, so new ones are compared with none; give them by --real")
        return found
    people = len(np.unique(real.subjects))
    if people < FEW:
        logger.warning(
            "only %d real images of %d subjects are at hand, which say little; give more by --real, expected %d "
            "subjects or more, and %d images to tell copies",
            len(real.reference), people, FEW, 2 * FEW,
        )  # fmt: skip
    if features is None and len(real.train) < 2:
        logger.warning("the images trained on are gone, so there are no features of them; give --features RUN2")
        return found
    detector, name = _features(features, real.train)
    codes = {"generated": generated, "train": real.train, "real": real.reference}
    of = {part: _encoded(detector, images) for part, images in codes.items()}
    try:
        found += likenesses(of["generated"], of["real"], real.subjects, name=name, seed=seed)
        # The smallest 5 % of fewer are chance, and would call honest images copies.
        if len(real.train) and len(real.reference) >= 2 * FEW:
            found += novelty(**of, subjects=real.subjects, name=name, seed=seed)
        if classes is not None and real.classes is not None:
            found += _by_class(of["generated"], classes, of["real"], real, name, seed)
    except AnomalyError as error:
        logger.warning("%s; what needs them is left out: give more real images by --real", error)
    return found


def _by_class(
    generated: np.ndarray, classes: np.ndarray, features: np.ndarray, real: Real, name: str, seed: int
) -> list[Measure]:
    """Frechet distances within each class; a warning names the classes with too few images for one."""
    assert real.classes is not None
    found: list[Measure] = []
    few: list[str] = []
    for each in dict.fromkeys(classes):
        held = real.classes == each
        try:
            told = likenesses(
                generated[classes == each], features[held], real.subjects[held], name=f"{name}, class {each}", seed=seed
            )
            found += [one for one in told if one.measure == "frechet"]
        except AnomalyError:
            few.append(each)
    if few:
        logger.warning("too few new or real images to compare these classes one by one: %s", some(few, 6))
    return found


def _features(run: Run | None, train: np.ndarray) -> tuple[Detector, str]:
    """What gives an image its features, and their name."""
    if run is not None:
        return run.detector, f"codes of the {run.detector.name} run {run.identity[:12]}"
    pca = PCA(components=min(COMPONENTS, len(train) - 1))
    pca.net_ = pca.build(train.shape[1:])  # `fit` would ask for the machine of a training, which this is none
    pca.settle(train)
    return pca, f"pca-{pca.components} of the run's training normals"


def _encoded(detector: Detector, images: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        parts = [detector.encode(x).double().cpu().numpy() for x in chunks(images, detector.device)]
    return np.concatenate(parts) if parts else np.empty((0, 0))


def _new(run: Run, reference: pd.DataFrame) -> pd.DataFrame:
    """Those of the real images that show nobody the run was trained on or calibrated by."""
    trained = run.normals.query("split != 'choose'")
    if reference.attrs["subjects_from"] == FILE_NAMES:
        logger.warning("%simages of people who were trained on are taken for those of others", NO_SUBJECTS)
    elif run.facts["data"]["subjects_from"] == FILE_NAMES:
        logger.warning(
            "%s took each of its files for another subject, so other images of people it was trained on are taken for "
            "those of others; train it with --subject or --subject-pattern, or leave them out of --real",
            run.folder,
        )
    # A file that was trained on tells of its subject too, under whatever name that goes here.
    known = [*trained["subject"], *reference.loc[reference["path"].isin(trained["path"]), "subject"]]
    old = reference["subject"].isin(known)
    people = reference.loc[old, "subject"].nunique()
    if old.all():
        raise CohortError(
            f"all {len(old)} real images are of {people} subjects that {run.folder} was trained on or calibrated "
            f"by; give images of others; {TELL_APART}"
        )
    if old.any():
        logger.warning(
            "%d of the %d real images are of %d subjects that %s was trained on or calibrated by, and are left out; %s",
            old.sum(), len(old), people, run.folder, TELL_APART,
        )  # fmt: skip
    return reference[~old]


def _there(rows: pd.DataFrame, what: str) -> pd.DataFrame:
    """The rows whose files still exist."""
    there = np.array([Path(path).exists() for path in rows["path"]], dtype=bool)
    if not there.all():
        logger.warning("%d of the run's %d %s are gone from where they lay", (~there).sum(), len(rows), what)
    return rows[there]


def _picked(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most so many rows, chosen by chance but always the same."""
    return rows.iloc[np.sort(np.random.default_rng(0).permutation(len(rows))[:most])]


def _few(cached: CachedImages, name: str, most: int) -> tuple[np.ndarray, pd.DataFrame]:
    """At most so many images of a part, in memory, and the row of each in the table."""
    table = cached.table[cached.table["split"] == name]
    if table.empty:
        return np.empty((0, *cached.pixels.shape[1:]), dtype=np.float32), table
    pixels, rows = cached.part(name), table.loc[table.index.repeat(table["slices"])]
    chosen = np.sort(np.random.default_rng(0).permutation(len(pixels))[:most])
    return np.array(pixels[chosen]), rows.iloc[chosen]
