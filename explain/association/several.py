"""What a group map makes of persons with several images, and which column tells these apart."""

import re
from collections.abc import Collection

import numpy as np
import pandas as pd

from anomaly.cohorts.results import some

VISIT = re.compile(
    r"visit|session|^ses$|time_?point|wave|follow|side|laterality|^eye$|^knee$|^hip$|date", re.IGNORECASE
)
MOST = 20


def about_several(people: pd.DataFrame, subjects: np.ndarray | None, used: Collection[str]) -> list[str]:
    """A sentence where persons have several images, else none.

    Args:
        people: the rows of the cohort, an image each.
        subjects: whose they are, (n,); None where each is another person.
        used: columns that are asked for anyway.
    """
    if subjects is None:
        return []
    images, persons = len(subjects), np.unique(subjects).size
    if persons == images:
        return []
    named = [str(name) for name in people if name not in used]
    told = [name for name in named if VISIT.search(name) and _apart(people[name], subjects)]
    if not told:
        return [f"All {images} images of {persons} persons count, each alike; persons, not images, change places."]
    kinds = some(sorted(map(str, people[told[0]].dropna().unique())), 4)
    return [
        f"All {images} images of {persons} persons count, each alike, whatever their {' and '.join(told)} ({kinds}); "
        f"persons, not images, change places. --where {told[0]}=VALUE takes those of one {told[0]} alone."
    ]


def _apart(column: pd.Series, subjects: np.ndarray) -> bool:
    """Whether a column has few values, and several within some person."""
    within = column.groupby(subjects).nunique()
    return bool(2 <= column.nunique() <= MOST and (within > 1).any())
