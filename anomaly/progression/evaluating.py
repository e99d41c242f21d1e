"""Say how near predicted visits come to those that came, beside what needs no network."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly.cohorts.joining import SIMULATED, simulated
from anomaly.cohorts.tables import Form, GrowingTable
from anomaly.errors import CohortError, UnreadableImage
from anomaly.files import write_whole
from anomaly.images.image import alone
from anomaly.pictures.figures import stamped
from anomaly.progress import progress
from anomaly.progression.floors import LAID, Floors, own_trends
from anomaly.progression.forecasting import DRAWS, figures, forecast, read_pairs, refuse_years, size_of
from anomaly.progression.inputs import INPUTS, left_of, refuse_others
from anomaly.progression.judging import DRAWN, OVERLAPS, overlaps, summary
from anomaly.progression.keeping import LEFT_OUT, TEXTS
from anomaly.progression.pairing import BEFORE, Visits
from anomaly.progression.predicting import about, new_to, refuse_no_maps, said
from anomaly.progression.reading import Pair
from anomaly.progression.run import ForecasterRun
from anomaly.progression.telling import HTML, PERSON, TRAINING, html, picture, sentences_of
from anomaly.shown import Readable
from anomaly.training.machine import one_core_left

PROGRESSION = Form("progression", "evaluation_of_progress.json", ("id", "subject", "path", "files"), files="files")
COLUMNS = (
    *(BEFORE, "years", "volume", "true_volume", "true_change", f"{DRAWN}_change", "change_low", "change_high"),
    *("spread", "p_growing", "sureness", "brightness", "trend_of", *(f"{name}_change" for name in LAID)),
    *(f"{name}_{each}" for name in (DRAWN, *LAID) for each in OVERLAPS),
    INPUTS,
)


@dataclass(frozen=True, repr=False)
class Progression(Readable):
    """How near predicted visits come to those that came.

    Args:
        path: the table of figures, a row a pair of visits.
        summary: figures with intervals, and differences from the best floor, a row each.
        page: what a reader is told.
        errors: the table of pairs that cannot be used, there if there are any.
        failed: how many these are.
        left_out: images that stand in no pair; `left_out.csv` says why.
        sentences: the main figures in words.
    """

    path: Path
    summary: pd.DataFrame
    page: Path
    errors: Path
    failed: int
    left_out: int
    sentences: tuple[str, ...]

    def _in_short(self) -> tuple[str, dict[str, object]]:
        errors = self.errors if self.failed else None
        return self.sentences[0], {"table": self.path, "page": self.page, "errors": errors}


def evaluate_progression(
    run: Path | str,
    visits: Visits,
    out: Path | str,
    *,
    least: float = 0.0,
    draws: int = DRAWS,
    allow_overlap: bool = False,
    seed: int = 0,
    device: str = "auto",
    workers: int | None = None,
) -> Progression:
    """Predict the next visit of persons who were seen again, and compare; this is `anomaly progress evaluate`.

    Writes `progression.csv`, a row a pair: volumes, the change predicted with its interval and the true one, what the
    floors say, Dice of the pixels that become disease and of those that stop being it. `summary.csv` and
    `summary.json` have each figure of the pairs of this call with its 95 % interval by bootstrap of persons, and the
    paired difference from the best floor; `progression.html` and `progression.png` show it. `errors.csv` names pairs
    that cannot be used, `left_out.csv` images that stand in no pair.

    Floors: nothing changes (`persistence`); what most persons of the training did (`majority`, of growth against
    shrinkage); their mean change a year (`trend`), or a person's own where a visit before is among the pairs (`which`
    "next"; the column trend_of says which); least squares on volume, how sure the map is, how bright the image is
    there, and years (`regression`). Their maps are the disease of now, grown or shrunk evenly to that volume.

    Args:
        run: what `learn_progression` left.
        visits: pairs of visits of other persons, and their maps.
        out: gets the tables and the page.
        least: changes of volume of this size or smaller are neither growth nor shrinkage.
        draws: as `predict_progression` takes it.
        allow_overlap: take persons of the training too.
        seed: of the bootstrap.
        device: "auto", "cpu", "cuda", ...
        workers: threads that read; None takes one a core.

    Raises:
        CohortError: nobody has two visits, or persons that the run knows.
        RunError: a run that cannot be used, or an `out` that holds other figures, or figures of other files.
    """
    out, opened = Path(out), ForecasterRun.open(run, device=device)
    refuse_no_maps(opened, visits.maps)
    pairs = visits.found()
    left_out = pairs.attrs["left_out"]
    rows = new_to(opened, pairs, visits.mask, allow_overlap)
    work = _Work(opened, Floors.of(opened.learned_from), draws)
    table = work.done(rows, out, workers)
    found = _of_this_call(table, rows, out, left_out)
    means = summary(found, work.floors.grow, least=least, seed=seed)
    sentences = sentences_of(means, opened, found, least=least, draws=draws, missing=(table.failed, len(left_out)))
    drawn = picture(found, opened.unit)
    if opened.simulated or simulated(pairs):
        sentences = [*sentences, SIMULATED]
        drawn = stamped(drawn, "SIMULATED")
    told = {"sentences": sentences, "rows": json.loads(means.to_json(orient="records")), "least": least, "seed": seed}
    for name, content in (
        ("summary.csv", means.to_csv(index=False)), ("summary.json", json.dumps(told, indent=1) + "\n"),
        ("progression.png", drawn),
    ):  # fmt: skip
        write_whole(out / name, content)
    write_whole(out / HTML, html(means, opened, sentences, out))
    return Progression(table.path, means, out / HTML, table.errors, table.failed, len(left_out), tuple(sentences))


def _of_this_call(
    table: GrowingTable, rows: Sequence[Mapping[str, Any]], out: Path, left_out: pd.DataFrame
) -> pd.DataFrame:  # fmt: skip
    """The figures of the pairs that are asked for now, whatever else an earlier call left; names who is in no pair."""
    (out / LEFT_OUT).unlink(missing_ok=True)
    if len(left_out):
        write_whole(out / LEFT_OUT, left_out.to_csv(index=False))
    found = pd.read_csv(table.path, dtype=dict.fromkeys((*TEXTS, INPUTS), str), keep_default_na=False, na_values=[""])
    found = found[found[INPUTS].isin({row[INPUTS] for row in rows})].reset_index(drop=True)
    if found.empty:
        raise CohortError(f"none of the {len(rows)} pairs of visits can be used; see {table.errors}")
    return found


@dataclass(frozen=True)
class _Work:
    """What is done to each pair."""

    run: ForecasterRun
    floors: Floors
    draws: int

    def done(self, rows: Sequence[Mapping[str, Any]], out: Path, workers: int | None) -> GrowingTable:
        """Compare what is missing, and keep the tables of it."""
        run, floors = self.run, self.floors
        facts = {
            "forecaster": run.identity, "draws": self.draws, "threshold": run.forecaster.threshold,
            "floors": {"yearly": floors.yearly, "majority": floors.grow, "regression": floors.weights.tolist()},
            "unit": run.unit, "runs": [os.path.relpath(run.folder, out)],
        }  # fmt: skip
        refuse_others(PROGRESSION, out)
        table = GrowingTable(PROGRESSION, out, settings=facts, columns=COLUMNS)
        todo = left_of(table, rows)
        with (
            ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool, table, one_core_left(),
            progress("comparing", len(rows), done=len(rows) - len(todo), unit="pairs") as bar,
        ):  # fmt: skip
            for row in self.rows(todo, pool, pd.DataFrame(rows)):
                table.add([row])
                bar.advance()
        return table

    def rows(
        self, left: Sequence[Mapping[str, Any]], pool: ThreadPoolExecutor, pairs: pd.DataFrame
    ) -> Iterator[dict[str, Any]]:
        """The figures of each pair, or why it has none."""
        earlier = self._earlier(pairs, pool)
        for row, pair in read_pairs(left, self.run.reading, pool):
            try:
                if isinstance(pair, UnreadableImage):
                    raise pair
                work = partial(self._one, row, pair, earlier.get(row["path"]))
                yield {**about(row), BEFORE: row[BEFORE], "files": "", **alone(Path(row["path"]), work, "judged")}
            except UnreadableImage as error:
                yield {**about(row), "error": str(error)}

    def _one(self, row: Mapping[str, Any], pair: Pair, earlier: float | None) -> dict[str, Any]:
        if pair.unit != self.run.unit:
            raise UnreadableImage(
                f"{pair.image.path}: its volume would be in {pair.unit}, the run's is {self.run.unit}"
            )
        years = float(row["years"]) if self.run.facts["told_years"] else self.run.years
        refuse_years(years, self.run.spans, self.run.timed, str(row["path"]))
        learned = self.run.forecaster
        told = forecast(learned, pair, years, str(row["id"]), self.draws)
        found = {**figures(learned, pair, told), "years": years}
        changes = self.floors.changes(found, earlier)
        interval = said(self.run, told, self.draws)
        return {
            **{name: value for name, value in found.items() if name != "change"}, f"{DRAWN}_change": found["change"],
            **{name: interval[name] for name in ("change_low", "change_high", "p_growing")},
            "trend_of": TRAINING if earlier is None else PERSON,
            **{f"{name}_change": change for name, change in changes.items()},
            **{name: "" if np.isnan(value) else value for name, value in
               overlaps(pair, told, changes, learned.threshold).items()},
        }  # fmt: skip

    def _earlier(self, pairs: pd.DataFrame, pool: ThreadPoolExecutor) -> dict[str, float]:
        """The change a year that persons with a third visit showed before, by the path of the later image."""
        known = set(zip(pairs["subject"], pairs["path"], strict=True))
        needed = {row[BEFORE] for row in pairs.to_dict("records") if (row["subject"], row[BEFORE]) in known}
        if not needed:
            return {}
        rows, threshold = [], self.run.forecaster.threshold
        first: list[Any] = pairs[pairs["path"].isin(needed)].to_dict("records")
        for row, pair in read_pairs(first, self.run.reading, pool):
            if isinstance(pair, Pair):
                sizes = [size_of(each, pair, threshold) for each in (pair.before, pair.after)]
                years = float(row["years"]) if self.run.facts["told_years"] else self.run.years
                rows.append({**row, "true_change": sizes[1] - sizes[0], "years": years})
        seen = pd.DataFrame(rows, columns=[*pairs.columns, "true_change"])
        others = pairs[~pairs["path"].isin(set(seen["path"]))].assign(true_change=np.nan)
        told = own_trends(pd.concat([seen, others], ignore_index=True))
        return {path: change for path, change in told.items() if np.isfinite(change)}
