"""What became of each lesion between two visits: new, growing, shrinking, resolved or stable, with its volumes.

Two masks on one grid are joined, and each region of what either marks is one lesion, so that one that moved by a voxel,
split or merged is still compared with itself. Voxels that touch, at their corners too, are of one region.
"""

import numpy as np
import pandas as pd
from scipy import ndimage

from anomaly.errors import AnomalyError
from anomaly.statistics.regions import labelled

KINDS = ("new", "growing", "shrinking", "resolved", "stable")
AXES = ("i", "j", "k")
GROWN = 0.25
"""Relative change below which two drawings of one lesion are taken for alike: a design choice."""


def lesion_changes(
    before: np.ndarray,
    after: np.ndarray,
    *,
    voxel: float = 1.0,
    inside: np.ndarray | None = None,
    smallest: float = 0.0,
    grown: float = GROWN,
    least: float = 0.0,
) -> pd.DataFrame:
    """One row a lesion: what became of it from one visit to the next.

    A lesion is a region of what either mask marks. It is new where the first mask marks nothing of it, resolved where
    the second does not. Else it grows or shrinks where its volume changed by more than `grown` of what it had and by
    at least `least`, since two drawings of one lesion are never alike; in between it is stable.

    Args:
        before: mask (*space) of the first visit, bool or 0 and 1, 2D or 3D.
        after: mask of the second visit, on the same grid.
        voxel: volume of one voxel, in the unit that all volumes are to have (mm3, ml, or voxels).
        inside: where lesions count, bool (*space); None for everywhere. What lies outside is left out of both masks.
        smallest: lesions that have less than this volume at both visits are left out.
        grown: relative change beyond which a lesion grows or shrinks, >= 0.
        least: change of volume below which a lesion neither grows nor shrinks, >= 0.

    Returns:
        A table with lesion (from 1, the largest first), kind, volume_before, volume_after, change, relative (change
        over volume_before; NaN for new lesions), lesions_before and lesions_after (regions of either mask that it
        holds: 2 and 1 merged, 1 and 2 split), and centre_i, centre_j, centre_k (mean index of its voxels, from 0).
        Without lesions it has these columns and no row.

    Raises:
        AnomalyError: the masks lie on two grids, or hold other values than 0 and 1; a threshold is negative.
    """
    first, second = (_mask(mask, name) for mask, name in ((before, "first"), (after, "second")))
    counts = None if inside is None else _mask(inside, "inside")
    for mask, name in ((second, "mask of the second visit"), (counts, "mask of where lesions count")):
        if mask is not None and mask.shape != first.shape:
            raise AnomalyError(
                f"the {name} has shape {mask.shape}, that of the first visit {first.shape}; bring them onto one grid: "
                "anomaly register visits"
            )
    for name, number, zero in (
        ("voxel", voxel, False), ("smallest", smallest, True), ("grown", grown, True), ("least", least, True)
    ):  # fmt: skip
        if not np.isfinite(number) or number < 0 or (number == 0 and not zero):
            raise AnomalyError(f"{name} is {number}; expected a number {'of 0 or more' if zero else 'above 0'}")
    if counts is not None:
        first, second = first & counts, second & counts
    labels, count = labelled(first | second)
    if not count:
        return _empty(first.ndim)
    found = _measured(labels, count, first, second, voxel)
    found["kind"] = _kinds(found, grown, least)
    found = found[found[["volume_before", "volume_after"]].max(axis=1) >= smallest]
    largest = found[["volume_before", "volume_after"]].max(axis=1).sort_values(ascending=False, kind="stable").index
    found = found.loc[largest].reset_index(drop=True)
    found["lesion"] = np.arange(1, len(found) + 1)
    return found[_columns(first.ndim)]


def lesion_counts(lesions: pd.DataFrame) -> dict[str, float]:
    """The table of `lesion_changes` in one row: how many lesions of each kind, and by how much they changed.

    Returns:
        volume_before, volume_after and change of all; each kind's number (new, growing ...) and change of volume
        (new_change, growing_change ...: what appeared, was added, was lost).
    """
    found: dict[str, float] = {name: float(lesions[name].sum()) for name in ("volume_before", "volume_after", "change")}
    for kind in KINDS:
        rows = lesions[lesions["kind"] == kind]
        found |= {kind: len(rows), f"{kind}_change": float(rows["change"].sum())}
    return found


def _mask(mask: np.ndarray, name: str) -> np.ndarray:
    """A mask as bool, whatever numbers it is written in."""
    mask = np.asarray(mask)
    if mask.ndim not in (2, 3):
        raise AnomalyError(f"the {name} mask has shape {mask.shape}; expected a picture or a volume")
    if mask.dtype == bool:
        return mask
    if not np.isin(mask, (0, 1)).all():
        low, high = np.nanmin(mask, initial=np.inf), np.nanmax(mask, initial=-np.inf)
        raise AnomalyError(
            f"the {name} mask holds values from {low:g} to {high:g}; expected 0 and 1: say which values are lesion, as "
            "in mask > 0.5"
        )
    return mask.astype(bool)


def _columns(dims: int) -> list[str]:
    counted = ["lesions_before", "lesions_after"]
    volumes = ["volume_before", "volume_after", "change", "relative"]
    return ["lesion", "kind", *volumes, *counted, *(f"centre_{axis}" for axis in AXES[:dims])]


def _empty(dims: int) -> pd.DataFrame:
    """The table of no lesions, each column of the kind it always has."""
    kinds = {"lesion": "int64", "kind": "str", "lesions_before": "int64", "lesions_after": "int64"}
    return pd.DataFrame({name: pd.Series(dtype=kinds.get(name, "float64")) for name in _columns(dims)})


def _measured(labels: np.ndarray, count: int, first: np.ndarray, second: np.ndarray, voxel: float) -> pd.DataFrame:
    """Volumes, parts and centre of each region, in the order of their numbers."""
    volumes = [np.bincount(labels[mask], minlength=count + 1)[1:] * float(voxel) for mask in (first, second)]
    parts = [_parts(mask, labels, count) for mask in (first, second)]
    centres = np.array(ndimage.center_of_mass(labels > 0, labels, np.arange(1, count + 1)))
    change = volumes[1] - volumes[0]
    return pd.DataFrame(
        {
            "volume_before": volumes[0],
            "volume_after": volumes[1],
            "change": change,
            "relative": np.divide(change, volumes[0], out=np.full(count, np.nan), where=volumes[0] > 0),
            "lesions_before": parts[0],
            "lesions_after": parts[1],
            **{f"centre_{axis}": centres[:, i] for i, axis in enumerate(AXES[: labels.ndim])},
        }
    )


def _parts(mask: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """How many regions of one mask each joined region holds."""
    own, number = labelled(mask)
    holder = np.zeros(number + 1, dtype=np.int64)
    holder[own[mask]] = labels[mask]  # a region lies in one joined region whole
    return np.bincount(holder[1:], minlength=count + 1)[1:]


def _kinds(found: pd.DataFrame, grown: float, least: float) -> np.ndarray:
    before, after, change = (found[name].to_numpy() for name in ("volume_before", "volume_after", "change"))
    told = (np.abs(change) > grown * before) & (np.abs(change) >= least) & (change != 0)
    return np.select(
        [before == 0, after == 0, told & (change > 0), told & (change < 0)],
        ["new", "resolved", "growing", "shrinking"],
        default="stable",
    )
