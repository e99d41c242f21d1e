"""The page that lists evaluations of several outcomes, each in a folder of its own."""

from pathlib import Path
from typing import Any

from anomaly.cohorts.results import read_facts
from anomaly.errors import EvaluationError
from anomaly.files import write_whole
from anomaly.reporting.template import template

PAGE = "index.html"


def evaluations(folder: Path) -> list[Path]:
    """The folders in this one that `evaluate` wrote for an outcome each, in the order of their names."""
    return sorted(file.parent for file in folder.glob("*/evaluation.json") if _answers(file))


def _answers(file: Path) -> bool:
    try:
        return bool(read_facts(file).get("evaluation"))
    except EvaluationError:  # a damaged neighbour says so where its own report is asked for
        return False


def told(folder: Path) -> list[dict[str, Any]]:
    """What is said of each evaluation in this folder, with a relative link: the folder may be moved as a whole."""
    rows = []
    for each in evaluations(folder):
        facts = read_facts(each / "evaluation.json")
        named = [str(facts[name]) for name in ("outcome", "positive") if facts.get(name) is not None]
        row = {
            "outcome": " ".join(named),
            "where": ", ".join(f"{name} = {value}" for name, value in (facts.get("where") or {}).items()),
            "headline": facts.get("headline"),
            "page": f"{each.name}/report.html" if (each / "report.html").is_file() else None,
            "main": facts["evaluation"][0],
        }
        rows.append(row)
    return rows


def index(folder: Path) -> Path:
    """Write `index.html`: each evaluation in this folder with its headline, and the report of all images."""
    beside = "report.html" if (folder / "report.html").is_file() else None
    target = folder / PAGE
    write_whole(target, template(PAGE).render(name=folder.resolve().name, outcomes=told(folder), beside=beside))
    return target
