"""The page that lists what lies in a folder: outcomes, truths, group maps and explanations, each in its own."""

from pathlib import Path
from typing import Any

from anomaly.cohorts.results import read_facts
from anomaly.errors import EvaluationError
from anomaly.files import write_whole
from anomaly.reporting import groupmap
from anomaly.reporting.template import written

PAGE = "index.html"
_NOT_ALONE = ("evaluation", "explanations")
"""What evaluations of outcomes and of explanations say, which may have a truth as well."""


def evaluations(folder: Path) -> list[Path]:
    """The folders in this one that `evaluate` wrote, for an outcome each or for a truth alone, by their names."""
    return sorted([*_outcomes(folder), *_truths(folder)])


def maps(folder: Path) -> list[Path]:
    """The folders in this one, and itself, that `associate` wrote."""
    return [
        *([folder] if _says(folder / groupmap.FACTS, "headline") else []),
        *_inside(folder, groupmap.FACTS, "headline"),
    ]


def explanations(folder: Path) -> list[Path]:
    """The folders in this one that hold explanations."""
    return [each for each in _inside(folder, "explain.json", "outputs") if (each / "explanations.csv").is_file()]


def _outcomes(folder: Path) -> list[Path]:
    return _inside(folder, "evaluation.json", "evaluation")


def _truths(folder: Path) -> list[Path]:
    """Those of maps beside a truth where no outcome was asked for, and of several visits."""
    found = [*_inside(folder, "evaluation.json", "truth"), *_inside(folder, "evaluation.json", "visits")]
    return [each for each in found if not any(_says(each / "evaluation.json", key) for key in _NOT_ALONE)]


def _inside(folder: Path, name: str, key: str) -> list[Path]:
    return sorted(file.parent for file in folder.glob(f"*/{name}") if _says(file, key))


def _says(file: Path, key: str) -> bool:
    try:
        return bool(read_facts(file).get(key))
    except EvaluationError:  # a damaged neighbour says so where its own report is asked for
        return False


def anything(folder: Path) -> bool:
    """Whether there is something for an index of this folder to list."""
    return bool(evaluations(folder) or maps(folder) or explanations(folder))


def told(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What is said of each part of this folder, with a relative link: the folder may be moved as a whole."""
    return {
        "outcomes": [_outcome(each) for each in _outcomes(folder)],
        "truths": [_part(folder, each, "report.html", _headline(each)) for each in _truths(folder)],
        "maps": [
            _part(folder, each, groupmap.PAGE, read_facts(each / groupmap.FACTS)["headline"]) for each in maps(folder)
        ],
        "explained": [_part(folder, each, "report.html", _explained(each)) for each in explanations(folder)],
    }


def _outcome(folder: Path) -> dict[str, Any]:
    facts = read_facts(folder / "evaluation.json")
    named = [str(facts[name]) for name in ("outcome", "positive") if facts.get(name) is not None]
    return {
        "outcome": " ".join(named),
        "where": ", ".join(f"{name} = {value}" for name, value in (facts.get("where") or {}).items()),
        "headline": facts.get("headline"),
        "page": f"{folder.name}/report.html" if (folder / "report.html").is_file() else None,
        "main": facts["evaluation"][0],
    }


def _part(folder: Path, part: Path, page: str, headline: str) -> dict[str, Any]:
    link = (part / page).relative_to(folder).as_posix() if (part / page).is_file() else None
    return {"name": part.resolve().name, "page": link, "headline": headline}


def _explained(folder: Path) -> str:
    named = read_facts(folder / "explain.json").get("runs", {})
    headline = _headline(folder)
    return f"explained by {named.get('source', 'an explainer')}" + (f". {headline}" if headline else "")


def _headline(folder: Path) -> str:
    return str(read_facts(folder / "evaluation.json").get("headline") or "")


def index(folder: Path, title: str | None = None) -> Path:
    """Write `index.html`: each part of this folder with its headline, and the report of all images."""
    beside = "report.html" if (folder / "report.html").is_file() else None
    target = folder / PAGE
    parts = told(folder)
    write_whole(target, written(PAGE, title or folder.resolve().name, parts=parts, within=False, beside=beside))
    return target
