"""Turns a folder of scores, heatmaps and perhaps an evaluation into one HTML file to read or print.

The file stands alone: pictures are inside it, nothing is fetched. But for a line an image in its table, its size does
not grow with the cohort.
"""

import math
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.cohorts.results import read_facts, read_scores, read_table, scored_trained
from anomaly.errors import EvaluationError
from anomaly.files import DAY, write_whole
from anomaly.pictures import figures
from anomaly.pictures.scales import next_to_nothing
from anomaly.reporting import contents, curves, gallery, groupmap, images, sections, viewer
from anomaly.reporting.template import day, percent, written

_DRAWN = {"restore.json": "restore evaluate", "translate.json": "translate evaluate"}
_ERRORS_SHOWN = 20
_ROUNDING = 1e-9
_OWN = ("scores.csv", "explanations.csv", "evaluation.json")
_CARD_SHOWN = 6000
_UNDATED = 10 * 366 * DAY  # files of 1970 to 1980, where computers without a clock and archives without dates put them
_INTERVALS = {"AUROC": "auroc_method", "average precision": "ap_method", "sensitivity": "sensitivity_at_90_method"}
_FIGURES = {"roc.png": "ROC curve of each score", "distribution.png": "Distribution of the anomaly score"}


def report(folder: Path, *, title: str | None = None) -> Path:
    """Write `report.html` into a folder that scoring or evaluation wrote; returns its path.

    Where evaluations of several outcomes, group maps or explanations lie in folders of their own, `index.html` beside
    these lists them.

    Reads scores.csv (or the one evaluation.json names), the heatmaps it lists, errors.csv, score.json and
    the runs it names, and the tables and figures of an evaluation; whatever is absent is left out. A folder with
    explanations.csv (or whose evaluation.json names one) gets a report of these; where there are scores as well, the
    evaluation says which is meant, and without one scores are. What `associate` wrote becomes `association.html`.

    A folder that holds nothing but such folders gets a page in each of them, and the index is returned.

    Args:
        folder: that is reported.
        title: what the study is called; None for the name of the folder.

    Raises:
        EvaluationError: no scores there, or a scores.csv that cannot be used.
    """
    folder = Path(folder)
    own, mapped = any((folder / name).is_file() for name in _OWN), (folder / groupmap.FACTS).is_file()
    if not own and not mapped and contents.anything(folder):
        for each in (*contents.evaluations(folder), *contents.explanations(folder)):
            _page(each, title)
        for each in contents.maps(folder):
            _map_page(each, title)
        return contents.index(folder, title)
    pages = [_page(folder, title)] if own or not mapped else []
    pages += [_map_page(folder, title)] if mapped else []
    if contents.anything(folder) and (own or len(contents.maps(folder)) > 1):
        contents.index(folder, title)
    elif _listed(folder):
        contents.index(folder.resolve().parent)
    return pages[0]


def _listed(folder: Path) -> bool:
    """Whether the folder above has an index that this one is a part of."""
    here, above = folder.resolve(), folder.resolve().parent
    if here in contents.evaluations(above):
        return True
    known = any((above / name).is_file() for name in _OWN) or contents.evaluations(above)
    return bool(known) and here in (*contents.maps(above), *contents.explanations(above))


def _page(folder: Path, title: str | None) -> Path:
    evaluation = read_facts(folder / "evaluation.json")
    explained = _home(folder, evaluation, "explanations")
    scored = "explanations" not in evaluation and _home(folder, evaluation, "scores") is not None
    own = _own(folder, title)
    page = (
        _of_scores(folder, evaluation, own)
        if explained is None or scored
        else _of_explanations(folder, evaluation, explained, own)
    )
    target = folder / "report.html"
    write_whole(target, page)
    return target


def _map_page(folder: Path, title: str | None) -> Path:
    page = written(groupmap.PAGE, **_own(folder, title), **groupmap.told(folder), errors=_errors(folder))
    write_whole(folder / groupmap.PAGE, page)
    return folder / groupmap.PAGE


def _own(folder: Path, title: str | None) -> dict[str, Any]:
    """What the study is called, and the folder whose index lists this one."""
    here = folder.resolve()
    return {"title": title or here.name, "beside": here.parent.name if _listed(folder) else None}


def _of_explanations(folder: Path, evaluation: dict[str, Any], home: Path, own: dict[str, Any]) -> str:
    table = read_table(home / "explanations.csv", "explanations", names=["files"])
    settings = read_facts(home / "explain.json")
    named = settings.get("runs", {})
    return written(
        "explanations.html",
        **own,
        headline=" ".join(filter(None, (_little(table), evaluation.get("headline"), settings.get("if_nothing")))),
        notes=evaluation.get("notes", []),
        source=named.get("source", "an explainer"),
        sections=sections.prepared(folder, evaluation.get("sections", [])),
        total=len(table),
        groups=gallery.explained(table, home, settings.get("thresholds", {})),
        errors=_errors(home),
        runs=[_run(home / name) for name in dict.fromkeys(named.values()) if (home / name / "run.json").is_file()],
    )


def _little(table: pd.DataFrame) -> str:
    """That nothing changes in any of the explained images, or nothing."""
    largest = float(table["largest_change"].max()) if "largest_change" in table else float("nan")
    return next_to_nothing(largest, f" in {len(table)} images" if len(table) > 1 else "")


def _of_scores(folder: Path, evaluation: dict[str, Any], own: dict[str, Any]) -> str:
    home = _scores_home(folder, evaluation)
    named = home / Path(str(evaluation.get("scores", "scores.csv"))).name
    file = named if named.is_file() else home / "scores.csv"
    scores = read_scores(file, names=["unlike"])
    settings = read_facts(home / "score.json")
    runs = [_run(home / name) for name in _named_runs(settings)]
    outcomes = _outcomes(folder)
    outcome = " ".join(str(evaluation[name]) for name in ("outcome", "positive") if evaluation.get(name) is not None)
    # What is said within strata has a section of its own.
    evaluated = [row for row in evaluation.get("evaluation", []) if row["stratum"] == "all"]
    views, advice = viewer.viewers(gallery.extremes(scores)[0], home)
    return written(
        "report.html",
        **own,
        headline=evaluation.get("headline"),
        notes=evaluation.get("notes", []),
        outcome=outcome,
        parts=contents.told(folder) if contents.anything(folder) else None,
        within=True,
        evaluated=evaluated,
        intervals=_intervals(evaluated),
        sections=sections.prepared(folder, evaluation.get("sections", [])),
        figures=_pictures(folder, scores),
        curve=curves.curve(folder, [row["score"] for row in evaluated]),
        total=len(scores),
        flagged=_flagged(scores),
        unlike=int((images.unlike(scores) != "").sum()) if "unlike" in scores else None,
        alpha=settings.get("alpha"),
        false_alarms=_false_alarms(settings.get("alpha"), [run["data"] for run in runs]),
        trained_scored=scored_trained(home / "scores.csv"),
        groups=images.shown(scores, home, outcomes, outcome),
        rows=images.listed(scores, home, folder, outcomes, outcome),
        viewers=views,
        viewer_advice=advice,
        errors=_errors(home),
        runs=runs,
        methods=list(dict.fromkeys(run["facts"]["method"] for run in runs if "method" in run["facts"])),
        scored_on=_day(file),
        colour_from=gallery.COLOUR_FROM,
    )


def _day(file: Path) -> str:
    """When a file was written; "" where its date is none: in the future, or one that stands for none."""
    changed = file.stat().st_mtime
    return day(datetime.fromtimestamp(changed).astimezone()) if _UNDATED < changed < time.time() + DAY else ""


def _intervals(evaluated: list[dict[str, Any]]) -> dict[str, str]:
    """How the intervals of each figure were made, as far as the evaluation says."""
    told = {figure: [row[column] for row in evaluated if row.get(column)] for figure, column in _INTERVALS.items()}
    return {figure: "; ".join(dict.fromkeys(methods)) for figure, methods in told.items() if methods}


def _false_alarms(alpha: float | None, data: list[dict[str, Any]]) -> str | None:
    """How often this alpha flags normal images, in words, from what each run says of its data.

    A p-value is at least 1 / (n + 1), n the subjects that calibrate. With one image each it takes steps of that
    size, and floor(alpha (n + 1)) of them are flagged; with several images a subject alpha is but the bound.
    """
    if alpha is None:
        return None
    known = next((each for each in data if "calibration_subjects" in each), None)
    if known is None:
        return f"normal images like those used for calibration are flagged at most about {percent(alpha)} of the time"
    subjects, steps = known["calibration_subjects"], known["calibration_subjects"] + 1
    flagged = math.floor(alpha * steps + _ROUNDING)
    if flagged == 0:
        return (
            f"nothing can be flagged at this alpha with {subjects} normal subjects to calibrate by; "
            f"it takes {math.ceil(1 / alpha - _ROUNDING) - 1} or more"
        )
    single = known.get("split", {}).get("calibrate") == subjects
    rate = percent(flagged / steps) if single else f"at most {percent(alpha)}"
    return f"of normal images like those of the {subjects} subjects used for calibration, {rate} are flagged"


def _scores_home(folder: Path, evaluation: dict[str, Any]) -> Path:
    home = _home(folder, evaluation, "scores")
    if home is None:
        if (folder / "fidelity.json").is_file():
            raise EvaluationError(
                f"{folder} has its page already: fidelity.html, which `anomaly restore evaluate` wrote"
            )
        for name, command in _DRAWN.items():
            if (folder / name).is_file():
                raise EvaluationError(
                    f"{folder} holds drawn images, of which there is no report; `anomaly {command}` says more"
                )
        raise EvaluationError(f"{folder} holds no scores.csv; give a folder that score, evaluate or explain map wrote")
    return home


def _home(folder: Path, evaluation: dict[str, Any], table: str) -> Path | None:
    """The folder of a table: this one, that which its evaluation names, or the one above where folders were moved."""
    named = Path(str(evaluation.get(table, folder / f"{table}.csv")))
    above = [folder.parent / named.name] if table in evaluation else []
    return next((file.parent for file in (folder / f"{table}.csv", named, *above) if file.is_file()), None)


def _outcomes(folder: Path) -> dict[str, int]:
    file = folder / "evaluated.csv"
    if not file.is_file():
        return {}
    table = read_table(file, "evaluation")
    return dict(zip(table["id"], table["outcome"].astype(int), strict=True))


def _pictures(folder: Path, scores: pd.DataFrame) -> list[dict[str, str]]:
    """The figures of the evaluation; without one, how the values are distributed."""
    drawn = [(name, folder / name) for name in _FIGURES if (folder / name).is_file()]
    found = [(_FIGURES[name], file.read_bytes()) for name, file in drawn]
    if not found and len(scores):
        everyone = {"all images": np.ones(len(scores), dtype=bool)}
        found = [(_FIGURES["distribution.png"], figures.distribution(scores["value"].to_numpy(), everyone))]
    return [{"alt": alt, "uri": gallery.as_uri(content, widest=sections.WIDEST, kind="PNG")} for alt, content in found]


def _flagged(scores: pd.DataFrame) -> int | None:
    return int(scores["flagged"].map(images.truth).sum()) if "flagged" in scores else None


def _errors(home: Path) -> dict[str, Any] | None:
    """The first rows of errors.csv and how many there are; nothing where every image was read."""
    file = home / "errors.csv"
    if not file.is_file() or not file.read_bytes().strip():
        return None
    table = read_table(file, "errors")
    shown = table.head(_ERRORS_SHOWN).fillna("").astype(str)
    return {"total": len(table), "columns": list(shown), "rows": shown.to_numpy().tolist()} if len(table) else None


def _named_runs(settings: dict[str, Any]) -> list[str]:
    runs = settings.get("runs", [])
    return [str(name) for name in (runs if isinstance(runs, list) else [runs])]


def _run(folder: Path) -> dict[str, Any]:
    """Facts of a run folder: the plain entries of run.json, what it says of its data, and its model card."""
    found = read_facts(folder / "run.json")
    facts = {name: _short(value) for name, value in found.items() if value not in (None, "", {}, [])}
    card = folder / "MODEL_CARD.md"
    text = card.read_text(encoding="utf-8", errors="replace")[:_CARD_SHOWN] if card.is_file() else None
    data = found.get("data")
    return {
        "name": folder.name,
        "facts": facts,
        "data": data if isinstance(data, dict) else {},
        "card": text,
        "curves": sections.picture(folder, "training.png"),
    }


def _short(value: Any) -> str:
    text = ", ".join(f"{name} = {each}" for name, each in value.items()) if isinstance(value, dict) else str(value)
    return text if len(text) <= 300 else text[:297] + "..."
