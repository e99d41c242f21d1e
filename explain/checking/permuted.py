"""Labels permuted and the explainer trained again: what is left of the map when there is nothing to learn?"""

import logging

import numpy as np
import pandas as pd

from anomaly.statistics import Estimate, permutation
from explain.checking.again import Again, held_out_cases
from explain.checking.comparing import SAMPLED, Compared, compared
from explain.checking.findings import Finding, columns, counts, little_told, over
from explain.runs.source import Source
from explain.sides.sides import TRAIN

logger = logging.getLogger(__name__)
CHECK = "labels permuted"
DRAWS = 50
TOO_FEW = "too few persons for an interval"


def check_labels(
    source: Source, again: Again, table: pd.DataFrame, *, permutations: int = 1, limit: float = 0.10, seed: int = 0
) -> Finding:
    """Train again on permuted labels; the map on held-out cases must vanish.

    Passes where the 95 % interval of mean |map| by the permuted explainers, over mean |map| by the real one, lies below
    `limit`; with too few persons for an interval, where the ratio itself does. No verdict where the trainings on
    permuted labels are shorter than the real one, whose maps are other maps then anyway. Nor is there one, and nothing
    is trained, where the real maps are next to nothing themselves in more than half of the persons.

    Of a run that was calibrated, what its calibration leaves of maps is compared, of the real ones as of the others:
    these permutations had no part in it.

    Args:
        source: the real explainer.
        again: how it is trained.
        table: its images, from `images_of`.
        permutations: so many trainings, each with other labels; their mean decides.
        limit: share of the real map.
        seed: of the permutations.
    """
    if blank := _blank(source, table, again.workers):
        return blank  # before anything is trained
    others, changes = {}, []
    for number in range(1, permutations + 1):
        mixed, changed = permuted(table, number, seed)
        changes.append(changed)
        logger.info("permutation %d of %d: the labels of %s are changed", number, permutations, changed)
        told = f"labels are permuted in the part {TRAIN} (permutation {number} of seed {seed})"
        others[f"permuted {number}"] = again.train(number, mixed, told).explainer
    found = compared(source, others, held_out_cases(table), again.workers)
    untold = _untold(source, again)

    def verdict(size: Estimate) -> bool | None:
        return None if untold else _vanished(size, limit)

    rows = [
        {
            "check": CHECK,
            "number": k + 1,
            "changed": changes[k],
            **found.row(k),
            "passed": verdict(found.size(k)),
            "note": TOO_FEW if np.isnan(found.size(k).high) else None,
        }
        for k in range(permutations)
    ]
    overall = found.size()
    if permutations > 1:
        mean = {"check": f"{CHECK}, mean of {permutations}", **counts(found.subjects), **columns("ratio", overall)}
        rows.append(mean | {"passed": verdict(overall), "note": rows[0]["note"]})
    passed = verdict(overall)
    as_drawn = None if source.calibration is None or source.raw else found.raw_size().value
    return Finding(
        CHECK, passed, _sentence(found, changes, limit, passed, untold, as_drawn), rows, found.shown, found.errors
    )


def _blank(source: Source, table: pd.DataFrame, workers: int | None) -> Finding | None:
    """What is found of real maps that are next to nothing, before anything is trained; None where they are more."""
    found = compared(source, {}, held_out_cases(table), workers)
    little = little_told(found.largest, found.subjects)
    if not little:
        return None
    sentence = (
        f"CANNOT TELL: {little}, so that what labels without meaning give could not be told from it. Nothing was "
        "trained on permuted labels; train longer, or with less weight on small changes."
    )
    row = {"check": CHECK, **counts(found.subjects), "passed": None}
    return Finding(CHECK, None, sentence, [row], found.shown, found.errors)


def _untold(source: Source, again: Again) -> str:
    """Why the check can tell nothing, or "" where it can."""
    full = None if source.run is None else source.run.facts["settings"].get("steps")
    if again.steps is None or full is None or again.steps >= full:
        return ""
    return (
        f"the trainings on permuted labels were shorter than the run's own ({again.steps} steps for {full}); leave "
        "--steps out"
    )


def _vanished(size: Estimate, limit: float) -> bool:
    return size.value < limit and not size.high >= limit


def _sentence(
    found: Compared, changes: list[str], limit: float, passed: bool | None, untold: str, as_drawn: float | None
) -> str:
    size, (signed, absolute) = found.size(), found.alike(0)
    which = "" if len(changes) == 1 else f"mean of {len(changes)} permutations; the first: "
    between = f"{100 * size.low:.1f} to {100 * size.high:.1f} %" if size.low <= size.high else TOO_FEW
    before = "" if as_drawn is None else f", {100 * as_drawn:.1f} % without the calibration"
    told = (
        f"with the labels permuted, maps are {100 * size.value:.1f} % the size of the real ones ({between}; limit "
        f"{100 * limit:g} %{before}), {over(found.subjects, 'held-out cases')}; {which}labels of {changes[0]} changed, "
        f"rank correlation with the real maps {signed.value:.2f} (sizes alone {absolute.value:.2f}; {_pairs(found)} "
        f"{found.floor.signed:.2f} and {found.floor.absolute:.2f})"
    )
    if passed is None:
        return f"CANNOT TELL: {untold}. What was found: {told}."
    if passed:
        return f"PASSED: {told}."
    return (
        f"FAILED: {told}. The map does not vanish when the labels mean nothing: part of it is what this training makes "
        "of any two groups, so its size alone is no evidence."
        + ("" if as_drawn is not None else " `anomaly explain calibrate` takes that part away.")
    )


def _pairs(found: Compared) -> str:
    """Whose likeness the floor is."""
    what = "middle slices of real maps" if found.shown.turned else "real maps"
    return f"pairs of {what} of different persons, of up to {SAMPLED} cases,"


def permuted(table: pd.DataFrame, number: int, seed: int = 0, stream: int | None = None) -> tuple[pd.DataFrame, str]:
    """The table with the labels of the training part permuted among subjects, and how many were changed, in words.

    A subject's images keep together, as far as they have one label; where subjects have images on both sides, these
    exchange labels within and among subjects as `statistics.permutation` allows. Of several draws that is taken whose
    labels go least with the real ones, so that no remainder of the truth is taken for a map of nothing. The former
    label is in the column `given_label`.

    Args:
        table: id, subject, label, part.
        number: of the permutation; each is another.
        seed: of all of them.
        stream: of what else permutes by the same seeds, so that it never has the same permutations; above 0.
    """
    part = (table["part"] == TRAIN).to_numpy()
    random = np.random.default_rng([seed, number] if stream is None else [seed, number, stream])
    training = table[part]
    labels = training["label"].to_numpy()
    both = training.groupby("subject")["label"].nunique().gt(1).any()
    mix = _dealt if both else _among_subjects
    draws = [mix(training, random) for _ in range(DRAWS)]
    drawn = min((each for each in draws if len(set(each)) == 2), key=lambda each: abs(_correlation(each, labels)))
    mixed = table.assign(given_label=table["label"])
    mixed.loc[part, "label"] = drawn
    what = "id" if both else "subject"
    changed, whole = training.loc[drawn != labels, what].nunique(), training[what].nunique()
    return mixed, f"{changed} of {whole} {'images' if both else 'subjects'}"


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one, other)[0, 1])


def _among_subjects(training: pd.DataFrame, random: np.random.Generator) -> np.ndarray:
    of_subjects = training.groupby("subject")["label"].first()
    dealt = dict(zip(of_subjects.index, random.permutation(of_subjects.to_numpy()), strict=True))
    return training["subject"].map(dealt).to_numpy()


def _dealt(training: pd.DataFrame, random: np.random.Generator) -> np.ndarray:
    labels = training["label"].to_numpy()
    plan = permutation.plan(labels, subject=training["subject"])
    return labels[permutation.shuffled(plan, 1, random)[0][0]]
