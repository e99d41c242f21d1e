"""What became of each lesion between two visits, as the maps of both mark it above one limit."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.changes.lesions import KINDS, lesion_changes
from anomaly.cohorts.results import read_facts, some
from anomaly.errors import EvaluationError, UnreadableImage
from anomaly.evaluation.section import Section, ends, in_words
from anomaly.images import Image, read
from anomaly.images.image import located, same_grid, voxel_volume
from anomaly.longitudinal.changes import EVERYBODY, groups_of
from anomaly.longitudinal.question import Question, Seen
from anomaly.longitudinal.wording import mean_of, signed
from anomaly.progress import progress

LIMIT = "0.01"
"""Of the limits that held-out normals fixed: at most this share of their pixels lies above."""


def changed_lesions(seen: Seen, question: Question) -> tuple[Section | None, pd.DataFrame]:
    """Lesions of each pair of maps by what became of them, and a row a lesion; None where there are no maps."""
    nothing = pd.DataFrame()
    if seen.maps is None:
        if question.limit is not None or question.smallest:
            seen.notes.append(
                "Lesions were not followed, and limit and smallest mean nothing: the scores name no map with numbers "
                "in it; score again with --heatmaps nifti."
            )
        return None, nothing
    limit, told = _limit(seen.file, question)
    if limit is None:
        seen.notes.append(f"Lesions were not followed: {told}.")
        return None, nothing
    try:
        lesions, pairs, unit = _followed(seen, limit, question.smallest)
    except EvaluationError as error:
        seen.notes.append(f"Lesions were not followed: {error}.")
        return None, nothing
    if pairs.empty:
        seen.notes.append("Lesions were not followed: no pair of visits has two maps on one grid.")
        return None, nothing
    rows = [_row(group, pairs[chosen[pairs["pair"]]], unit) for group, chosen in _groups(seen, question).items()]
    rows = [row for row in rows if row["n"]]
    all_of = rows[0]
    counts = ", ".join(f"{all_of[kind]} {kind}" for kind in KINDS)
    sentences = [
        f"What the maps mark above {limit:.3g} ({told}) holds {all_of['lesions']} lesions in {all_of['n']} pairs: "
        f"{counts}. Marked in all it changed by {signed(all_of, 'change')} {unit} a pair, "
        f"{signed(all_of, 'change_per_time')} a {seen.time}."
    ]
    sentences += _unplaced(seen)
    sentences += [
        f"{row['group'].capitalize()}: {row['new'] / row['n']:.2g} new and {row['growing'] / row['n']:.2g} growing "
        f"lesions a pair, {signed(row, 'change')} {unit} in all ({in_words(row['p_value'])})."
        for row in rows[1:]
    ]
    caption = (
        "A lesion is what hangs together of what either map marks; it grows or shrinks where its volume changes by "
        "more than a quarter, is new where the first map marks nothing of it, resolved where the second does not. "
        f"Small ones come and go by noise: compare the groups. Volumes in {unit}, their change a pair and a "
        f"{seen.time}; 95 % intervals by person. Where a person does not lie in one place at both visits, a shift "
        "looks like lesions that come and go."
    )
    return Section("lesion_changes", "Lesions between visits", sentences, caption, pd.DataFrame(rows)), lesions


def _unplaced(seen: Seen) -> list[str]:
    """That nobody says that anatomy lies in one place, where nobody does."""
    loose = 0 if seen.placed is None else int((~seen.placed).sum())
    if not loose:
        return []
    return [
        f"Of {loose} of {len(seen.pairs)} pairs nothing says that the later image was brought onto the first (anomaly "
        "register visits --maps): if not, what moved looks like lesions that come and go."
    ]


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
            moved = float(found["change"].sum())
            about = {"pair": place, "subject": subject, "change": moved, "change_per_time": moved / seen.rate[place]}
            pairs.append(about | kinds)
    _note(seen, without, broken, astray)
    if len(units) > 1:
        raise EvaluationError(f"maps tell volumes in {' and '.join(sorted(units))}; leave some out by --where")
    table = pd.concat(lesions, ignore_index=True) if lesions else pd.DataFrame()
    return (
        table,
        pd.DataFrame(pairs, columns=["pair", "subject", "change", "change_per_time", *KINDS]),
        next(iter(units), ""),
    )


def _note(seen: Seen, without: int, broken: list[str], astray: list[str]) -> None:
    if without:
        seen.notes.append(f"{without} pairs lack a map with numbers in it, and their lesions were not followed.")
    if broken:
        seen.notes.append(
            f"{len(broken)} maps could not be read, and their pairs' lesions not followed: {some(broken)}."
        )
    if astray:
        seen.notes.append(
            f"The two maps of {len(astray)} pairs lie on different grids ({some(astray)}): bring the maps "
            "of the later images onto the first by anomaly register visits --maps, and follow lesions by anomaly "
            "progress change --pairs."
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
    return voxel_volume(image.affine, image.ndim), "mm2" if flat else "mm3"


def _groups(seen: Seen, question: Question) -> dict[str, np.ndarray]:
    return {EVERYBODY: np.ones(len(seen.pairs), bool), **groups_of(seen, question.sign)}


def _row(group: str, pairs: pd.DataFrame, unit: str) -> dict[str, Any]:
    row: dict[str, Any] = {"group": group, "n": len(pairs), "persons": int(pairs["subject"].nunique())}
    counts = {kind: int(pairs[kind].sum()) for kind in KINDS}
    row |= {"lesions": sum(counts.values())} | counts
    whose = pairs["subject"].to_numpy()
    mean, rate = (mean_of(pairs[name].to_numpy(dtype=float), whose) for name in ("change", "change_per_time"))
    row |= ends("change", mean) | ends("change_per_time", rate)
    return row | {"unit": unit, "p_value": mean.p_value, "method": mean.method}
