"""Puts what a group map found into words, tables and files."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.cohorts.joining import SIMULATED, remarks
from anomaly.files import write_whole
from anomaly.images import write_volume
from anomaly.pictures.figures import stamped
from anomaly.shown import Readable, unread
from anomaly.statistics.estimates import between, groups_of
from anomaly.statistics.permutation import Plan
from explain.association import pictures
from explain.association.groupmap import GroupMap
from explain.association.maps import Maps, mean_image
from explain.association.people import Sample
from explain.association.regions import peak

_log = logging.getLogger(__name__)
# Where the fewer are a quarter of all and spread twice as much, robust findings under the null come in 15, 9, 9
# and 5 % of cohorts with 15, 30, 50 and 100 of them, at alpha = 5 %; at 1.5 times in 7 and 5 % with 30 and 50; at 1.3
# times in 5 % with 15. Pooled ones come in 63 % whatever the number, at twice (benchmarks/association.py).
_FEW, _UNLIKE, _UNLIKE_POOLED = 100, 1.5, 1.2


@dataclass(frozen=True, repr=False)
class Association(Readable):
    """What `associate` found.

    Args:
        regions: the significant regions, a row each; empty where nothing survives.
        load: a row an image, and prediction: a row an outcome and score; None where nothing was to be predicted.
        failed: maps that could not be read: id, path, error.
        headline, sentences, notes: in plain words; the sentences tell what the load predicts.
        out: the folder that was written.
    """

    regions: pd.DataFrame
    load: pd.DataFrame | None
    prediction: pd.DataFrame | None
    failed: pd.DataFrame
    headline: str
    sentences: list[str]
    notes: list[str]
    out: Path

    def _in_short(self) -> tuple[str, dict[str, object]]:
        first, more = self.sentences[:1], len(self.sentences) - 1
        return self.headline, {
            "predicts": "".join(first) + (f" {more} more in .sentences" if more > 0 else ""),
            "regions": f"{len(self.regions)} significant; {remarks(self.notes)}",
            "unreadable": unread(len(self.failed), "maps", self.out / "errors.csv"),
            "folder": self.out,
        }


def about_shufflings(sample: Sample, model: Plan) -> str:
    """A sentence on what changed places under the null hypothesis."""
    if model.against_zero:
        return f"Changes are held against none: their signs change, in {model.blocks.max() + 1} independent units."
    if model.partner is not None:
        return f"{model.kept.size} pairs: signs of differences change, in {model.blocks.max() + 1} independent units."
    people, within = sample.names("subject"), " within matched sets" if sample.names("match") is not None else ""
    if people is None:
        return f"Images change places freely{within}: each is taken for another person."
    text = f"Whole persons change places{within}, and the images of a person among themselves."
    if not within and (sample.images.groupby("subject")["outcome"].nunique() == 2).all():
        text += " Every person has both outcomes: matching by person (match) finds more."
    return text


def about_spread(values: np.ndarray, sample: Sample, model: Plan, robust: bool) -> list[str]:
    """A warning where the fewer, with the outcome or without, spread so much more that too much may be found."""
    if model.signed:
        return []
    fewer = sample.outcome == int(sample.outcome.mean() < 0.5)
    people = np.unique(groups_of(sample.names("subject"), fewer.size)[fewer]).size
    spread, other = (values[group].std(axis=0) for group in (fewer, ~fewer))
    ratio = float(np.median(spread / np.maximum(other, np.finfo(np.float32).tiny)))
    if ratio < (_UNLIKE if robust else _UNLIKE_POOLED) or (robust and people >= _FEW):
        return []
    which = "with" if sample.outcome[fewer][0] else "without"
    cure = f"the robust variance mends most of it, all from {_FEW} such persons" if robust else "use robust variance"
    return [
        f"Images {which} the outcome are the fewer and spread {ratio:.2g} times as much as the others, so that "
        f"findings may come more often than alpha says: {cure}."
    ]


def facts_of(found: GroupMap, maps: Maps, table: pd.DataFrame, alpha: float, sample: Sample) -> dict[str, Any]:
    """Figures for association.json; `sample` is of the images that count."""
    people = sample.names("subject")
    return {
        "n": len(sample.images),
        "events": int(sample.outcome.sum()),
        "persons": None if people is None else np.unique(people).size,
        "voxels": int(maps.mask.sum()),
        "grid": list(maps.mask.shape),
        "significant_voxels": int((found.p <= alpha).sum()),
        "regions": len(table),
        "peak": peak(found, maps),
    }


def headline_of(facts: dict[str, Any], table: pd.DataFrame) -> str:
    """What was found, in one sentence."""
    name = _named(facts)
    about = f"{facts['n']} {'pairs' if facts.get('visits') else 'images'}"
    about += f" of {facts['persons']} persons" if facts["persons"] else ""
    about += f", {facts['events']} with {name}" if name else ""
    about += f", adjusted for {', '.join(facts['adjust'])}" if facts["adjust"] else ""
    if table.empty:
        top = facts["peak"]
        place = f"{top['mm']} mm" if "mm" in top else f"voxel {top['voxel']}"
        what = "differs" if name else "changes"
        return (
            f"No region {what} ({about}): the largest t, {top['t']:.1f} at {place}, has a corrected p of "
            f"{top['p_corrected']:.3f}, above {facts['alpha']:g}"
        )
    first, more = table.iloc[0], len(table) - 1
    side = f" ({first['side']})" if isinstance(first.get("side"), str) else ""
    rest = f", and in {more} further region{'s' * (more > 1)}" if more else ""
    return (
        f"Maps {_way(first['sign'] == 'more', name, bool(facts.get('visits')))} in a region of {first['size']:.0f} "
        f"{first['unit']}{side}, peak t {first['peak_t']:.1f}, corrected p {first['p_corrected']:.3f}{rest} ({about})"
    )


def _way(more: bool, name: str, change: bool) -> str:
    """What the maps of a region do: of changes whether they rise, or rise more with the outcome."""
    if not change:
        return f"are {'higher' if more else 'lower'} with {name}"
    if not name:
        return f"{'rise' if more else 'fall'} between visits"
    return f"change {'upwards' if more else 'downwards'} with {name}, beside those without,"


def _ways(facts: dict[str, Any]) -> tuple[str, str]:
    """What blue and red mean in the picture."""
    if not facts.get("visits"):
        return "lower", "higher with the outcome"
    return ("rose less", "rose more with the outcome") if facts["outcome"] else ("fell", "rose between visits")


def about_prediction(predicted: pd.DataFrame | None) -> list[str]:
    """A sentence on each outcome that the load was to predict: its AUROC, and those of the scores beside it."""
    sentences = []
    for outcome, rows in predicted.groupby("outcome", sort=False) if predicted is not None else ():
        areas = {
            str(row["score"]): f"{row['auroc']:.2f} ({between(row['auroc_low'], row['auroc_high'])})"
            for row in rows.to_dict("records")
        }
        load = areas.pop("load")
        others = ", ".join(f"{name} {area}" for name, area in areas.items())
        sentences.append(
            f"The load on the map, cross-fitted, tells {outcome} with an AUROC of {load}; beside it {others}."
        )
    return sentences


def write(result: Association, facts: dict[str, Any], found: GroupMap, maps: Maps, sample: Sample) -> None:
    """The files of an association. The picture lies on the mean image of controls, or the mean of their maps."""
    out, t, p = result.out, maps.volume(found.t), maps.volume(found.p, 1.0)
    significant = p <= facts["alpha"]
    volumes = {"t": t, "p_corrected": p, "significant": np.where(significant, t, 0)}
    volumes |= {"mean_difference": maps.volume(found.difference), "auroc": maps.volume(found.auroc, 0.5)}
    for file, values in volumes.items():
        write_volume(out / f"{file}.nii.gz", values, maps.frame)
    tables = {"regions": result.regions, "load": result.load, "prediction": result.prediction}
    tables["errors"] = result.failed if len(result.failed) else None
    for file, table in tables.items():
        if table is not None:
            write_whole(out / f"{file}.csv", table.to_csv(index=False))
        else:
            (out / f"{file}.csv").unlink(missing_ok=True)  # of an earlier call
    told = {"headline": result.headline, "sentences": result.sentences, "notes": result.notes} | facts
    write_whole(out / "association.json", json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False))
    controls = sample.outcome == 0 if (sample.outcome == 0).any() else sample.outcome == 1
    whose = "controls" if facts["outcome"] else "all"
    mean, under = maps.volume(maps.values[controls].mean(axis=0)), f"mean map of {whose}"
    images = mean_image(sample.images.loc[controls, "image"], maps) if "image" in sample.images else None
    if images is not None:
        mean, under = images, f"mean image of {whose}"
    title, ways = _title(facts), _ways(facts)
    picture = pictures.association(t, significant, mean, maps.affine, result.regions, title, under, ways)
    made_up = SIMULATED in result.notes
    write_whole(out / "association.png", stamped(picture, "SIMULATED") if made_up else picture)
    for note in result.notes:
        _log.info(note)


def _named(facts: dict[str, Any]) -> str:
    """What the event is called in a sentence; "" where changes are held against none."""
    return facts["outcome"] or "" if facts["positive"] is None else f"{facts['outcome']} {facts['positive']}"


def _title(facts: dict[str, Any]) -> str:
    count = facts["regions"]
    survived = "no region" if not count else "1 region" if count == 1 else f"{count} regions"
    counted = f"{facts['n']} pairs of visits" if facts.get("visits") else f"{facts['n']} images"
    counted += f", {facts['events']} events" if facts["outcome"] else ""
    return (
        f"{_named(facts) or 'change'}: {counted}; {survived} at p ≤ {facts['alpha']:g}\n"
        f"({facts['correction']}, corrected for {facts['voxels']:,} voxels)"
    )
