"""What became of each lesion between two visits, as the maps of both mark it above one limit."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from nibabel.affines import voxel_sizes

from anomaly.changes.lesions import KINDS, lesion_changes
from anomaly.cohorts.results import read_facts, some
from anomaly.errors import EvaluationError, UnreadableImage
from anomaly.evaluation.section import Section, ends, in_words
from anomaly.images import Image, read
from anomaly.images.image import located, same_grid
from anomaly.longitudinal.changes import EVERYBODY, groups_of
from anomaly.longitudinal.question import Question, Seen
from anomaly.progress import progress
from anomaly.statistics.estimates import Estimate, between
from anomaly.statistics.linear import mean_with_interval

LIMIT = "0.01"
"""Of the limits that held-out normals fixed: at most this share of their pixels lies above."""


def changed_lesions(seen: Seen, question: Question) -> tuple[Section | None, pd.DataFrame]:
    """Lesions of each pair of maps by what became of them, and a row a lesion; None where there are no maps."""
    nothing = pd.DataFrame()
    if seen.maps is None:
        return None, nothing
    limit, told = _limit(seen.file, question)
    if limit is None:
        seen.notes.append(f"Lesions were not followed: {told}.")
        return None, nothing
    lesions, pairs, unit = _followed(seen, limit, question.smallest)
    if pairs.empty:
        seen.notes.append("Lesions were not followed: no pair of visits has two maps on one grid.")
        return None, nothing
    rows = [_row(group, pairs[chosen[pairs["pair"]]], unit) for group, chosen in _groups(seen, question).items()]
    rows = [row for row in rows if row["n"]]
    all_of = rows[0]
    counts = ", ".join(f"{all_of[kind]} {kind}" for kind in KINDS)
    sentences = [
        f"What the maps mark above {limit:.3g} ({told}) holds {all_of['lesions']} lesions in {all_of['n']} pairs: "
        f"{counts}. Marked in all it changed by {_signed(all_of, 'change')} {unit} a pair."
    ]
    sentences += [
        f"{row['group'].capitalize()}: {row['new'] / row['n']:.2g} new and {row['growing'] / row['n']:.2g} growing "
        f"lesions a pair, {_signed(row, 'change')} {unit} in all ({in_words(row['p_value'])})."
        for row in rows[1:]
    ]
    caption = (
        "A lesion is what hangs together of what either map marks; it grows or shrinks where its volume changes by a "
        "quarter or more, is new where the first map marks nothing of it, resolved where the second does not. Small "
        f"ones come and go by noise: compare the groups. Volumes in {unit}; 95 % intervals by person."
    )
    return Section("lesion_changes", "Lesions between visits", sentences, caption, pd.DataFrame(rows)), lesions


def _limit(file: Path, question: Question) -> tuple[float | None, str]:
    if question.limit is not None:
        return question.limit, "as asked"
    found = (read_facts(file.parent / "score.json").get("map_limits") or {}).get(LIMIT)
    if found is None:
        return None, "no limit of the map was fixed on held-out normals; give one by --limit, or score again"
    return float(found), "which at most 1 % of the pixels of held-out normals exceed"


def _followed(seen: Seen, limit: float, smallest: float) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """A row a lesion, a row a pair of maps that could be compared, and the unit of volumes."""
    assert seen.maps is not None
    lesions, pairs, astray, broken = [], list[dict[str, Any]](), list[str](), list[str]()
    without = 0
    units = set()
    named = ["id", "subject", "baseline_id", "row", "baseline_row"]
    with progress("Lesions", len(seen.pairs), unit="pairs", shown=True) as bar:
        for place, (name, subject, baseline, row, first) in enumerate(seen.pairs[named].itertuples(index=False)):
            bar.advance()
            paths = [seen.maps[each] for each in (first, row)]
            if not all(paths):
                without += 1
                continue
            try:
                before, after = (_map(Path(path)) for path in paths)
            except UnreadableImage as error:
                broken.append(str(error))
                continue
            if not same_grid(before, after):
                astray.append(name)
                continue
            size, unit = _voxel(before)
            units.add(unit)
            found = lesion_changes(before.pixels[0] > limit, after.pixels[0] > limit, voxel=size, smallest=smallest)
            found.insert(0, "id", name)
            found.insert(1, "subject", subject)
            found.insert(2, "baseline_id", baseline)
            lesions.append(found)
            kinds = {kind: int((found["kind"] == kind).sum()) for kind in KINDS}
            pairs.append({"pair": place, "subject": subject, "change": float(found["change"].sum())} | kinds)
    _note(seen, without, broken, astray)
    if len(units) > 1:
        raise EvaluationError(f"maps tell volumes in {' and '.join(sorted(units))}; leave some out by --where")
    table = pd.concat(lesions, ignore_index=True) if lesions else pd.DataFrame()
    return table, pd.DataFrame(pairs, columns=["pair", "subject", "change", *KINDS]), next(iter(units), "")


def _note(seen: Seen, without: int, broken: list[str], astray: list[str]) -> None:
    if without:
        seen.notes.append(f"{without} pairs lack a map with numbers in it, and their lesions were not followed.")
    if broken:
        seen.notes.append(
            f"{len(broken)} maps could not be read, and their pairs' lesions not followed: {some(broken)}."
        )
    if astray:
        seen.notes.append(
            f"The two maps of {len(astray)} pairs lie on different grids ({some(astray)}): register them first, with "
            "anomaly register visits, and score what it writes."
        )


def _map(path: Path) -> Image:
    image = read(path)
    if len(image.pixels) != 1:
        raise UnreadableImage(f"{path}: has {len(image.pixels)} channels; a map has one number a voxel")
    return image


def _voxel(image: Image) -> tuple[float, str]:
    """The size of a voxel, and what it is in."""
    flat = image.ndim == 2
    if not located(image.affine) or not image.measured:
        return 1.0, "pixels" if flat else "voxels"
    return float(np.prod(voxel_sizes(image.affine)[: image.ndim])), "mm2" if flat else "mm3"


def _groups(seen: Seen, question: Question) -> dict[str, np.ndarray]:
    return {EVERYBODY: np.ones(len(seen.pairs), bool), **groups_of(seen, question.sign)}


def _row(group: str, pairs: pd.DataFrame, unit: str) -> dict[str, Any]:
    row: dict[str, Any] = {"group": group, "n": len(pairs), "persons": int(pairs["subject"].nunique())}
    counts = {kind: int(pairs[kind].sum()) for kind in KINDS}
    row |= {"lesions": sum(counts.values())} | counts
    whose = np.unique(pairs["subject"].astype(str), return_inverse=True)[1]
    value = pairs["change"].to_numpy(dtype=float)
    try:
        mean = mean_with_interval(value, whose)
    except EvaluationError as error:
        mean = Estimate(float(value.mean()) if value.size else np.nan, np.nan, np.nan, str(error))
    return row | ends("change", mean) | {"unit": unit, "p_value": mean.p_value, "method": mean.method}


def _signed(row: dict[str, Any], name: str) -> str:
    return f"{row[name]:+.3g} ({between(row[f'{name}_low'], row[f'{name}_high'], '+.3g')})"
