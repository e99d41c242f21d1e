"""Who is whose counterpart: the painful knee of a person beside the painless one, mirrored and registered to it."""

import os
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from anomaly.cohorts.results import some
from anomaly.errors import AnomalyError, CohortError
from anomaly.files import write_whole
from anomaly.images import read, write_volume
from anomaly.progress import progress
from anomaly.registrars.mirror import mirrored
from anomaly.registrars.rigid import register


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
