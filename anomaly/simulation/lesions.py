"""Synthetic lesions in real normal images: how small and how faint a lesion a method still finds."""

import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.cohorts.cohort import fingerprint, read_cohort, split
from anomaly.cohorts.masks import Given, counting
from anomaly.cohorts.tables import ERRORS
from anomaly.errors import CohortError, UnreadableImage
from anomaly.files import write_whole
from anomaly.images import read
from anomaly.images.finding import Globs
from anomaly.images.masking import masked
from anomaly.progress import progress
from anomaly.simulation.folders import claim, write_sheet, write_truth
from anomaly.simulation.planting import Planted, Recipe, plant
from anomaly.simulation.sources import write_like, write_mask
from anomaly.streams import ordered

PARTS = {"train": "train", "choose": "val", "calibrate": "test"}
VAL, TEST = 0.16, 0.2
AHEAD, SHOWN = 4, 8
MEASURES = ("radius", "contrast", "snr")


def simulate_lesions(
    normals: Path | str,
    out: Path | str,
    *,
    radius: tuple[float, float] = (4.0, 8.0),
    unit: str = "mm",
    contrast: tuple[float, float] | None = None,
    contrast_unit: str = "sd",
    kind: str = "blob",
    polarity: str = "bright",
    count_per_image: int = 1,
    share: float = 0.5,
    subject: str | None = None,
    subject_pattern: str | None = None,
    where: Mapping[str, str] | None = None,
    match: Globs = None,
    exclude: Globs = None,
    region: Given = None,
    seed: int = 0,
) -> Path:
    """Put lesions of known place, size and contrast into a share of real normal images; gives `cohort.csv`.

    Images are written as they were stored (`write_like` says how), those left as they are too, so that the files
    alone tell nothing. Subjects are split 64 : 16 : 20 into train, val and test, the same for every seed, and in
    each part `share` of the subjects become cases, in all of their images. Writes `images/`, `masks/` of the cases,
    `lesions/ID.json`, `lesions.csv` (one row a lesion), `preview.png`, `truth.json` and, for images that cannot be
    used, `errors.csv`. Called again with the same arguments it makes only what is missing.

    Args:
        normals: a folder or a CSV of normal images, 2D or 3D; all that `read_cohort` reads.
        out: gets the cohort. `id` is `sim-` and the id of the source; `simulated` is 1 for images with lesions.
        radius: smallest and largest, of the ball (2D: circle) of the same size; drawn anew for each lesion, up to
            what the foreground has room for. An image without room for the smallest is named in `errors.csv`.
        unit: of the radius, "mm" or "pixels"; where a file tells no geometry, a pixel counts as 1 mm.
        contrast: smallest and largest, above 0, 1.5 to 3 by default; for "deformation" how much the centre is
            enlarged, below 1, 0.4 to 0.8 by default.
        contrast_unit: "sd" (of the image's foreground) or "range" (its 0.5 to 99.5 percentile); a deformation has none.
        kind: "blob" (a ball pushed in and out by smooth noise), "sphere" or "deformation" (what is there moves
            away from the centre, the mass effect; nothing is added).
        polarity: "bright", "dark" or "both"; for a deformation outwards, inwards or both.
        count_per_image: lesions in each case; they do not overlap.
        share: of the subjects that become cases, above 0 to 1.
        subject, subject_pattern, where, match, exclude: see `read_cohort`.
        region: masks of where lesions may lie, such as brains, as `mask` of `read_cohort`; the table names them in the
            column `region`, to be given as --mask, while its column `mask` marks the lesions.
        seed: 0 or more; same seed, same bytes.

    Raises:
        CohortError: arguments out of range, no image that can be used, or an `out` that holds another simulation.
    """
    recipe = Recipe(
        radius=radius, unit=unit, contrast=contrast, contrast_unit=contrast_unit, kind=kind, polarity=polarity,
        count_per_image=count_per_image,
    )  # fmt: skip
    if not 0 < share <= 1 or seed < 0:
        raise CohortError(f"share is {share} and seed {seed}; expected a share above 0 to 1 and a seed of 0 or more")
    if where is not None and not isinstance(where, Mapping):
        raise CohortError(f"where is {where!r}; expected columns and values, such as {{'label': '0'}}")
    out = Path(out)
    cohort = read_cohort(
        normals, subject=subject, subject_pattern=subject_pattern, where=where, match=match, exclude=exclude,
        mask="none" if region is None else region, missing="keep",
    )  # fmt: skip
    cohort = _assigned(counting(cohort), share, seed)
    settings = {
        **{"kind": "lesions", "lesion": kind}, **{k: v for k, v in asdict(recipe).items() if k != "kind"},
        "contrast": recipe.contrasts, "share": share, "seed": seed, "normals": fingerprint(cohort),
    }  # fmt: skip
    claim(out, settings)
    rows, lesions, errors = _made(cohort, out, recipe, seed)
    _tell(out, errors)
    if not rows:
        raise CohortError(f"{normals}: none of {len(cohort)} images can be used; the first: {errors[0]['error']}")
    table = pd.DataFrame(rows)
    write_whole(out / "lesions.csv", pd.DataFrame(lesions, columns=["id", *MEASURES, "centre"]).to_csv(index=False))
    write_whole(out / "cohort.csv", table.to_csv(index=False))
    told = {"counts": _counts(table), "lesions": len(lesions), "unreadable": len(errors)}
    write_truth(out, settings, told)
    _preview(out, table)
    return out / "cohort.csv"


def _assigned(cohort: pd.DataFrame, share: float, seed: int) -> pd.DataFrame:
    """Give every image its part and its label, by subject."""
    parts = np.array([PARTS[part] for part in split(list(cohort["subject"]), choose=VAL, calibrate=TEST)])
    cases: set[str] = set()
    for number, part in enumerate(PARTS.values()):
        people = sorted(set(cohort["subject"][parts == part]))
        chosen = min(len(people), max(round(share * len(people)), min(1, len(people) - 1)))
        cases.update(np.random.default_rng([seed, number]).permutation(people)[:chosen])
    if not cases:
        raise CohortError(f"share {share} of {cohort['subject'].nunique()} subjects is nobody; give more of them")
    return cohort.assign(split=parts, label=cohort["subject"].isin(cases).astype(int))


def _made(
    cohort: pd.DataFrame, out: Path, recipe: Recipe, seed: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Make all images; rows of the cohort, of the lesions and of the errors."""
    rows: list[dict[str, Any]] = []
    lesions: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    sources: list[Any] = cohort.to_dict("records")
    make = partial(_one, out=out, recipe=recipe, seed=seed)
    workers = min(AHEAD, os.cpu_count() or 1)
    with progress("planting lesions", len(sources), unit="images") as bar, ThreadPoolExecutor(workers) as pool:
        for source, made in zip(sources, ordered(pool, make, sources, ahead=AHEAD), strict=True):
            bar.advance()
            if isinstance(made, UnreadableImage):
                errors.append({"id": source["id"], "path": source["path"], "error": str(made)})
                continue
            rows.append(_row(source, made, out))
            lesions += [{"id": rows[-1]["id"], **lesion} for lesion in made["lesions"]]
    return rows, lesions, errors


def _one(source: Mapping[str, Any], *, out: Path, recipe: Recipe, seed: int) -> dict[str, Any] | UnreadableImage:
    """Make one image, or find it made: its files from `out`, and its lesions."""
    name = f"sim-{source['id']}"
    record = out / "lesions" / f"{name}.json"
    if record.exists():
        made: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
        if all((out / made[file]).exists() for file in ("path", "mask") if made[file]):
            return made
    try:
        image = masked(read(Path(source["path"])), source.get("mask"))
        planted = Planted(image.pixels, np.zeros(image.space, dtype=bool), [])
        if source["label"]:
            # By the name, so that an image's lesions do not depend on which others are there.
            own = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
            planted = plant(image, recipe, np.random.default_rng([seed, own]))
        file = write_like(image, out / "images", name, planted.pixels, planted.mask)
    except UnreadableImage as error:
        return error
    mask = f"masks/{write_mask(image, out / 'masks', name, planted.mask)}" if planted.lesions else ""
    made = {"path": f"images/{file}", "mask": mask, "lesions": planted.lesions}
    write_whole(record, json.dumps(made) + "\n")
    return made


def _row(source: Mapping[str, Any], made: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """One image in the cohort's table, measures of several lesions averaged."""
    found = {name: np.mean([each[name] for each in made["lesions"]]) if made["lesions"] else "" for name in MEASURES}
    own = {
        "id": f"sim-{source['id']}", "path": made["path"], "subject": source["subject"], "label": source["label"],
        "split": source["split"], "mask": made["mask"], "lesions": len(made["lesions"]), **found,
        "simulated": source["label"], "source": os.path.relpath(source["path"], out),
    }  # fmt: skip
    own |= {"region": os.path.relpath(source["mask"], out)} if source.get("mask") else {}
    return {**own, **{name: value for name, value in source.items() if name not in own}}


def _counts(table: pd.DataFrame) -> dict[str, dict[str, int]]:
    parts = {part: table.loc[table["split"] == part, "label"] for part in PARTS.values()}
    return {part: {"controls": int((each == 0).sum()), "cases": int(each.sum())} for part, each in parts.items()}


def _tell(out: Path, errors: list[dict[str, Any]]) -> None:
    if errors:
        write_whole(out / "errors.csv", pd.DataFrame(errors, columns=list(ERRORS)).to_csv(index=False))
    else:
        (out / "errors.csv").unlink(missing_ok=True)


def _preview(out: Path, table: pd.DataFrame) -> None:
    """Draw the first cases as they were and as they are, volumes by the slice with most of the lesion."""
    shown: dict[str, list[np.ndarray]] = {"before": [], "after": [], "mask": []}
    for row in table[table["label"] == 1].head(SHOWN).itertuples():
        mask = read(out / str(row.mask)).pixels[0]
        images = [read(out / str(row.source)).pixels.mean(axis=0), read(out / str(row.path)).pixels.mean(axis=0), mask]
        if mask.ndim == 3:
            at = mask.sum(axis=(0, 1)).argmax()
            images = [each[:, :, at].T[::-1, ::-1] for each in images]
        for name, picture in zip(shown, images, strict=True):
            shown[name].append(picture)
    write_sheet(out / "preview.png", shown, "lesions put into real normal images")
