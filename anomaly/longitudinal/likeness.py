"""Whether the images of both visits were made ready alike: registered both or neither, and as like what was learned."""

from pathlib import Path

import numpy as np
import pandas as pd

from anomaly.cohorts.results import some
from anomaly.longitudinal.question import Seen

REGISTERED, UNLIKE = "registered", "unlike"
_APART, _ERRORS = 0.1, 3.0
"""Shares that are unlike differ where they lie so far apart, and by so many standard errors of paired shares."""
_CURE = (
    "Score the images of both visits as they are, and carry the maps along (anomaly register visits --maps): what is "
    "interpolated is smoother."
)


def were_registered(scored: pd.DataFrame, folder: Path) -> np.ndarray:
    """Images (n,) that lie where `anomaly register` writes what it moved: in `registered`, its table beside it."""
    if "path" not in scored:
        return np.zeros(len(scored), bool)
    places = [(folder / str(path)).parent for path in scored["path"]]
    known = {
        place: place.name == REGISTERED
        and any((place.parent / name).is_file() for name in ("pairs.csv", "register.json"))
        for place in set(places)
    }
    return np.array([known[place] for place in places], dtype=bool)


def were_unlike(scored: pd.DataFrame) -> np.ndarray | None:
    """Images (n,) that scoring found unlike all that was learned; None where nobody asked."""
    if UNLIKE not in scored:
        return None
    told = scored[UNLIKE]
    return (told.notna() & (told.astype(str).str.strip() != "")).to_numpy()


def unequal(seen: Seen) -> list[str]:
    """That one image of pairs was registered and the other not, and that one visit is unlike far more often."""
    found = list[str]()
    first, last = (seen.images.iloc[seen.pairs[row]] for row in ("baseline_row", "row"))
    one = first[REGISTERED].to_numpy() != last[REGISTERED].to_numpy()
    if one.any():
        found.append(
            f"In {int(one.sum())} of {len(one)} pairs ({some(seen.pairs.loc[one, 'id'])}) one image was registered and "
            f"the other not, so that part of the change may be of interpolation. {_CURE}"
        )
    if UNLIKE in seen.images:
        before, after = (rows[UNLIKE].to_numpy(dtype=bool) for rows in (first, last))
        counts = int(before.sum()), int(after.sum())
        differ = abs(counts[1] - counts[0])
        if differ > _APART * len(one) and differ > _ERRORS * np.sqrt((before != after).sum()):
            found.append(
                f"Unlike all that was learned are {counts[0]} of {len(one)} first images and {counts[1]} of {len(one)} "
                "last ones: the visits were not taken or prepared alike, and the change of the score may be of that."
                + ("" if one.any() else f" If one visit was interpolated: {_CURE[0].lower()}{_CURE[1:]}")
            )
    return found
