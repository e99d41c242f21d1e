"""Who is whose counterpart: the painful knee of a person beside the painless one, mirrored and registered to it."""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.cohorts.results import some
from anomaly.errors import AnomalyError, CohortError
from anomaly.files import write_whole
from anomaly.images import Image, read, write_volume
from anomaly.progress import progress

SAME_PLANE = 0.9  # of the area of a slice, what is seen of it from the plane of the other
ROUNDS = 200
SAMPLED = 0.2
BINS = 50
"""Of the joint histogram of Mattes' mutual information."""


def knee_pairs(
    table: pd.DataFrame,
    *,
    subject: str = "subject",
    side: str = "side",
    visit: str | None = "visit",
    score: str = "womac",
    difference: float = 4,
    painless: float = 0,
) -> pd.DataFrame:
    """Persons with one painful and one painless knee at the same visit, one row a pair.

    A pair is taken where the scores of the two sides differ by `difference` or more and the better one is `painless`
    or less: |WOMAC pain right - left| >= 4 and the better knee at 0. Rows without a score are left out.

    Args:
        table: one row an image, with id and path, as `anomaly.cohorts.cohort.read_cohort` gives.
        subject, side, visit, score: its columns; the side has two values. visit=None where there was one visit.
        difference: least difference of the scores, above 0.
        painless: greatest score of the better knee.

    Returns:
        id and path of the painful knee, subject, visit, side (of the painful knee), counterpart (path) and
        counterpart_id of the painless one, and the difference of their scores.

    Raises:
        CohortError: a column is missing, scores are no numbers, there are not two sides, a knee has several images at
            one visit, or no pair is left.
    """
    if not difference > 0:
        raise CohortError(f"difference is {difference}; expected a number above 0, or neither knee would be the worse")
    known = _known(table, {"subject": subject, "side": side, "visit": visit, "score": score})
    both = known.merge(known, on=["subject", "visit"], suffixes=("", "_other"))
    both = both[both["side"] != both["side_other"]]
    both["difference"] = both["score"] - both["score_other"]
    worse = both["difference"] >= difference
    pairs = both[worse & (both["score_other"] <= painless)]
    if pairs.empty:
        raise CohortError(
            f"no pair is left: at one visit {len(both) // 2} persons have both knees, {int(worse.sum())} of them with "
            f"{score} apart by {difference} or more, none of these with the better knee at {painless} or less"
        )
    pairs = pairs.rename(columns={"path_other": "counterpart", "id_other": "counterpart_id"})
    columns = ["id", "path", "subject", "visit", "side", "counterpart", "counterpart_id", "difference"]
    return pairs[columns].reset_index(drop=True)


def mirrored(image: Image) -> Image:
    """The same volume seen in a mirror: its left is right, and it lies where the other knee would.

    Turns round the axis of the voxels that is closest to right-left, and moves the grid by x -> -x about the middle of
    the scanner, so that axes keep their directions. Exact whatever the obliquity; twice gives the image again.

    Raises:
        AnomalyError: a picture, whose file does not tell where left is.
    """
    if image.ndim != 3:
        raise AnomalyError(
            f"{image.path}: is a picture, which does not tell where left is; sagittal slices need no mirror, of "
            "radiographs write copies that are turned round"
        )
    axis = int(np.argmax(np.abs(image.affine[0, :3]) / np.linalg.norm(image.affine[:3, :3], axis=0)))
    turn = np.eye(4)
    turn[axis, axis], turn[axis, 3] = -1, image.space[axis] - 1
    affine = np.diag([-1.0, 1.0, 1.0, 1.0]) @ image.affine @ turn
    padding = None if image.padding is None else np.flip(image.padding, axis).copy()
    return replace(image, pixels=np.flip(image.pixels, axis + 1).copy(), affine=affine, padding=padding)


def register(moving: Image, fixed: Image, *, seed: int = 0) -> Image:
    """One image moved and turned, not deformed, until it lies on another; on the other's grid.

    Mattes' mutual information of the first channels, from coarse to fine, begun where the centres of mass meet
    (SimpleITK). What lies outside becomes the least value of the image.

    Args:
        moving: what is moved, such as the mirrored painless knee.
        fixed: what it is laid on.
        seed: of the voxels that are compared.

    Raises:
        AnomalyError: SimpleITK is not there, one is a picture and one a volume, or no overlap is found.
    """
    itk = _itk()
    if moving.ndim != fixed.ndim:
        raise AnomalyError(f"{moving.path} has {moving.ndim} axes, {fixed.path} {fixed.ndim}; register like with like")
    plane = _plane(moving, fixed)
    still, (first, *rest) = _on_grid(itk, fixed, plane)[0], _on_grid(itk, moving, plane)
    rigid = itk.Euler3DTransform() if fixed.ndim == 3 else itk.Euler2DTransform()
    method = itk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(SAMPLED, seed + 1)  # 0 would take the clock
    method.SetInterpolator(itk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(learningRate=1.0, minStep=1e-3, numberOfIterations=ROUNDS)
    method.SetOptimizerScalesFromPhysicalShift()
    factors = [factor for factor in (4, 2, 1) if min(fixed.space) >= 8 * factor] or [1]
    method.SetShrinkFactorsPerLevel(factors)
    method.SetSmoothingSigmasPerLevel([factor / 2 if factor > 1 else 0.0 for factor in factors])
    try:
        start = itk.CenteredTransformInitializer(still, first, rigid, itk.CenteredTransformInitializerFilter.MOMENTS)
        method.SetInitialTransform(start)
        found = method.Execute(still, first)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise AnomalyError(f"{moving.path} could not be registered to {fixed.path}: {reason}") from error
    laid = [itk.GetArrayFromImage(itk.Resample(each, still, found, itk.sitkLinear, 0.0)).T for each in (first, *rest)]
    pixels = np.stack(laid) + _least(moving)
    pixels = pixels.astype(np.float32)
    return replace(moving, pixels=pixels, affine=fixed.affine, source=fixed.source, padding=None)


def registered(pairs: pd.DataFrame, out: Path | str, *, mirror: bool = True, seed: int = 0) -> pd.DataFrame:
    """The pairs with every counterpart mirrored and registered to its case, as `counterparts/<id>.nii.gz` in a folder.

    Files that are there already are kept, so a second call goes on where the first was stopped.

    Args:
        pairs: from `knee_pairs`.
        out: the folder.
        mirror: whether counterparts are of the other side; not of sagittal pictures.
        seed: of the registration.
    """
    _need(pairs, ("id", "path", "counterpart"))
    paths = [Path(out) / "counterparts" / f"{one}.nii.gz" for one in pairs["id"]]
    with progress("register", len(pairs)) as bar:
        for case, counterpart, path in zip(pairs["path"], pairs["counterpart"], paths, strict=True):
            if not path.exists():
                other = read(Path(counterpart))
                laid = register(mirrored(other) if mirror else other, read(Path(case)), seed=seed)
                if len(laid.pixels) > 1:
                    raise AnomalyError(f"{counterpart}: has {len(laid.pixels)} channels; register images with one")
                write_volume(path, laid.pixels[0], laid.frame)
            bar.advance()
    return pairs.assign(counterpart=[os.path.abspath(path) for path in paths])


def write_pairs(pairs: pd.DataFrame, out: Path | str) -> Path:
    """Write pairs as `pairs.csv` in a folder: id, path, subject, counterpart, then what else there is.

    Raises:
        CohortError: a column is missing, or paths do not say where they start from.
    """
    first = ["id", "path", "subject", "counterpart"]
    _need(pairs, first)
    loose = [path for column in ("path", "counterpart") for path in pairs[column] if not os.path.isabs(path)]
    if loose:
        raise CohortError(
            f"{len(loose)} paths do not start from the root ({some(loose)}); read the table with "
            "anomaly.cohorts.cohort.read_cohort, which completes them"
        )
    path = Path(out) / "pairs.csv"
    write_whole(path, pairs[[*first, *(c for c in pairs if c not in first)]].to_csv(index=False))
    return path


def _known(table: pd.DataFrame, columns: dict[str, str | None]) -> pd.DataFrame:
    """The rows with a score, columns by their usual names, one row a knee and visit."""
    _need(table, ["id", "path", *(name for name in columns.values() if name is not None)])
    known = table[["id", "path"]].assign(**{k: table[v] if v is not None else "" for k, v in columns.items()})
    numbers = pd.to_numeric(known["score"], errors="coerce")
    words = known["score"][numbers.isna() & known["score"].notna()]
    if len(words):
        raise CohortError(f"{columns['score']} must be numbers, got {some(words.unique())}")
    known = known.assign(score=numbers).dropna(subset=["score", "side", "subject", "visit"])
    if known["side"].nunique() != 2:
        there = some(known["side"].unique()) or "none"
        raise CohortError(f"{columns['side']} must have two values, the two sides; its values are {there}")
    twice = known["id"][known.duplicated(["subject", "visit", "side"], keep=False)]
    if len(twice):
        raise CohortError(f"{len(twice)} images are of one knee at one visit ({some(twice)}); keep one of each")
    return known


def _need(table: pd.DataFrame, columns: Iterable[str]) -> None:
    missing = [name for name in columns if name not in table]
    if missing:
        raise CohortError(f"the table has no column {', '.join(missing)}; its columns are {some(table.columns, 20)}")


def _itk() -> Any:
    try:
        import SimpleITK
    except ImportError as error:
        raise AnomalyError("registration needs SimpleITK; pip install 'anomaly-explain[dicom]'") from error
    return SimpleITK


def _least(image: Image) -> np.ndarray:
    """The least value of each channel, (C, 1, ...)."""
    least: np.ndarray = image.pixels.min(axis=tuple(range(1, image.pixels.ndim)), keepdims=True)
    return least


def _plane(moving: Image, fixed: Image) -> np.ndarray:
    """The directions that both images share, as columns (3, dims): the body's, or of slices those of the fixed one.

    Raises:
        AnomalyError: the two slices lie in different planes of the body.
    """
    if fixed.ndim == 3:
        return np.eye(3)
    directions: np.ndarray = fixed.affine[:3, :2] / np.linalg.norm(fixed.affine[:3, :2], axis=0)
    theirs = moving.affine[:3, :2] / np.linalg.norm(moving.affine[:3, :2], axis=0)
    if abs(np.linalg.det(directions.T @ theirs)) < SAME_PLANE:
        raise AnomalyError(f"{moving.path} is a slice in another plane than {fixed.path}; register slices of one plane")
    return directions


def _on_grid(itk: Any, image: Image, plane: np.ndarray) -> list[Any]:
    """Channels as SimpleITK's images, from 0 up, where they lie in the directions (3, dims) that both share."""
    linear, origin = plane.T @ image.affine[:3, : image.ndim], plane.T @ image.affine[:3, 3]
    spacing = np.linalg.norm(linear, axis=0)
    channels = []
    for values in image.pixels - _least(image):
        channel = itk.GetImageFromArray(np.ascontiguousarray(values.T))
        channel.SetSpacing(spacing.tolist())
        channel.SetDirection((linear / spacing).flatten().tolist())
        channel.SetOrigin(origin.tolist())
        channels.append(channel)
    return channels
