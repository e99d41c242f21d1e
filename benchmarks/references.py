"""The same figures from R and from here, on the same data: python -m benchmarks.references [--store].

R's pROC (variance of DeLong, interval, paired test) on 50 drawn data sets with ties; R's survival (coxph with and
without clusters, clogit, the log-rank tests) on six drawn sets, on infert and, where lifelines is installed, on Rossi's
prisoners; scikit-survival, where installed, for the time-dependent AUROC. Prints a Markdown table of the largest
differences and fails where one is above its limit. --store keeps R's results on drawn sets, with the data they were
made from, in tests/data/, which the suite compares without R.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly import statistics
from anomaly.files import write_whole
from anomaly.statistics.hazards import cox
from anomaly.statistics.paired import conditional_odds_ratio
from anomaly.statistics.survival import log_rank
from anomaly.statistics.time_roc import time_dependent_auroc

STORED = Path(__file__).parents[1] / "tests" / "data"
SETS, STUDIES = 50, 6
AUROC_LIMIT, SURVIVAL_LIMIT = 1e-10, 1e-6
SURVIVAL = ("cox", "cox_error", "concordance", "robust_error", "log_rank", "robust_score", "matched", "matched_error")
HORIZONS = [2, 3]
FIGURES = ("auroc", "variance", "low", "high", "second", "z", "p_value")
PACKAGES = {"pROC": "r-cran-proc", "survival": "r-cran-survival"}

_R = r"""
folder <- commandArgs(TRUE)[1]
suppressMessages({library(pROC); library(survival)})
keep <- function(values, name) write.table(format(values, digits = 17, scientific = TRUE), file.path(folder, name),
                                           quote = FALSE, row.names = FALSE, col.names = FALSE, sep = ",")
rows <- lapply(split(read.csv(file.path(folder, "sets.csv")), ~set), function(d) {
  a <- roc(d$outcome, d$first, levels = c(0, 1), direction = "<", quiet = TRUE)
  b <- roc(d$outcome, d$second, levels = c(0, 1), direction = "<", quiet = TRUE)
  ends <- as.numeric(ci(a, method = "delong"))
  paired <- roc.test(a, b, method = "delong", paired = TRUE)
  c(as.numeric(auc(a)), var(a, method = "delong"), ends[1], ends[3], as.numeric(auc(b)),
    as.numeric(paired$statistic), paired$p.value)
})
keep(do.call(rbind, rows), "proc.csv")
write.csv(infert, file.path(folder, "infert.csv"), row.names = FALSE)
logit <- clogit(case ~ spontaneous + induced + strata(stratum), data = infert)
keep(c(coef(logit), sqrt(diag(vcov(logit)))), "clogit.csv")
followed <- function(d, formula) {
  plain <- coxph(formula, data = d)
  robust <- coxph(formula, data = d, cluster = pair)
  groups <- coxph(Surv(time, event) ~ factor(third), data = d, cluster = pair, ties = "breslow")
  c(coef(plain)[1], sqrt(vcov(plain)[1, 1]), plain$concordance["concordance"], sqrt(vcov(robust)[1, 1]),
    survdiff(Surv(time, event) ~ factor(third), data = d)$chisq, summary(groups)$robscore["test"])
}
rows <- lapply(split(read.csv(file.path(folder, "studies.csv")), ~set), function(d) {
  matched <- clogit(case ~ score + age + bmi + strata(stratum), data = d, method = "exact")
  c(followed(d, Surv(time, event) ~ score + age + bmi), coef(matched)[1], sqrt(vcov(matched)[1, 1]))
})
keep(do.call(rbind, rows), "studies_r.csv")
file <- file.path(folder, "rossi.csv")
if (file.exists(file))
  keep(followed(read.csv(file), Surv(time, event) ~ score + age + race + wexp + mar + paro + prio), "rossi_r.csv")
"""


def draw(number: int) -> pd.DataFrame:
    """One data set: 20 to 300 images with an outcome and two scores of few values, so that many tie."""
    rng = np.random.default_rng([number, SETS])
    size = int(rng.integers(20, 301))
    outcome = rng.permutation(np.arange(size) < max(4, int(rng.uniform(0.1, 0.6) * size))).astype(int)
    kinds = int(rng.integers(4, 40))
    first = rng.integers(0, kinds, size) + rng.integers(0, kinds // 2, size) * outcome
    second = first // 2 + rng.integers(0, kinds, size)
    return pd.DataFrame({"set": number, "outcome": outcome, "first": first, "second": second})


def ours(data: pd.DataFrame) -> list[float]:
    """What R's pROC is asked for, in the order of FIGURES."""
    found = statistics.auroc_interval(data["outcome"], data["first"])
    second = statistics.auroc_interval(data["outcome"], data["second"]).value
    pair = statistics.compare_aurocs(data["outcome"], data["first"], data["second"])
    return [found.value, found.variance, found.low, found.high, second, pair.z, pair.p_value]


def draw_study(number: int) -> pd.DataFrame:
    """One study of 60 to 120 images in pairs: yearly times with many ties, and matched sets of 2 to 4.

    A set holds one case, but one of four two in every second study: else all ways of treating ties would agree.
    """
    rng = np.random.default_rng([number, STUDIES, 1])
    size = 2 * int(rng.integers(30, 61))
    score, age = rng.normal(size=size).round(2), rng.integers(45, 80, size)
    bmi = (27 + 2 * score + rng.normal(scale=4, size=size)).round(1)
    hazard = np.exp(0.5 * score + 0.03 * (age - 62) + 0.05 * (bmi - 27)) / 4
    years, end = np.ceil(rng.exponential(1 / hazard)), rng.integers(2, 7, size)
    stratum = np.repeat(np.arange(size), rng.integers(2, 5, size))[:size]
    inclined = pd.Series(score + rng.normal(size=size)).groupby(stratum)
    cases = np.where((inclined.transform("size") == 4) & (number % 2 == 1), 2, 1)
    case = (inclined.rank(ascending=False) <= cases).astype(int)
    third = np.searchsorted(np.quantile(age, [1 / 3, 2 / 3]), age)
    return pd.DataFrame(
        {"set": number, "time": np.minimum(years, end).astype(int), "event": (years <= end).astype(int), "score": score}
        | {"age": age, "bmi": bmi, "pair": np.arange(size) // 2, "third": third, "stratum": stratum, "case": case}
    )


def followed(data: pd.DataFrame, covariates: pd.DataFrame) -> list[float]:
    """What R's survival is asked for, but for the matched sets, in the order of SURVIVAL."""
    asked, scale = (data["time"], data["event"], data["score"], covariates), data["score"].std()
    plain, robust = cox(*asked), cox(*asked, data["pair"])
    ranks = [log_rank(data["time"], data["event"], data["third"], who).statistic for who in (None, data["pair"])]
    errors = [float(np.sqrt(found.hazard_ratio.variance) / scale) for found in (plain, robust)]
    return [float(np.log(plain.hazard_ratio.value) / scale), errors[0], plain.concordance, errors[1], *ranks]


def matched(case: pd.Series, score: pd.Series, sets: pd.Series, other: pd.DataFrame) -> list[float]:
    """Coefficient and standard error, of one unit of the score, within matched sets."""
    found = conditional_odds_ratio(case, score, sets, other)
    return [float(np.log(found.value) / score.std()), float(np.sqrt(found.variance) / score.std())]


def ours_study(data: pd.DataFrame) -> list[float]:
    """What R's survival is asked for, in the order of SURVIVAL."""
    beside = data[["age", "bmi"]]
    return [*followed(data, beside), *matched(data["case"], data["score"], data["stratum"], beside)]


def infert_difference(folder: Path) -> float:
    """The largest difference of coefficients and standard errors of the two abortion counts of R's infert."""
    data, there = pd.read_csv(folder / "infert.csv"), np.loadtxt(folder / "clogit.csv")
    pairs = (("spontaneous", "induced"), ("induced", "spontaneous"))
    here = [matched(data["case"], data[name], data["stratum"], data[[other]]) for name, other in pairs]
    return float(np.abs(np.array(here).T.ravel() - there).max())


def read_rossi() -> pd.DataFrame | None:
    """Rossi's prisoners, as lifelines ships them, in made-up pairs and three groups of age; None without lifelines."""
    try:
        from lifelines.datasets import load_rossi
    except ImportError:
        print("Rossi's prisoners are NOT compared: `pip install lifelines` brings them (it holds pandas below 3)\n")
        return None
    rossi = load_rossi().rename(columns={"week": "time", "arrest": "event", "fin": "score"})
    third = np.searchsorted(np.quantile(rossi["age"], [1 / 3, 2 / 3]), rossi["age"])
    return rossi.assign(pair=np.arange(len(rossi)) // 2, third=third)


def horizon_difference(studies: pd.DataFrame) -> float | None:
    """The largest difference from scikit-survival's time-dependent AUROC; None without scikit-survival."""
    try:
        from sksurv.metrics import cumulative_dynamic_auc
        from sksurv.util import Surv
    except ImportError:
        print("The time-dependent AUROC is NOT compared: `pip install scikit-survival` allows it\n")
        return None
    largest = 0.0
    for _, data in studies.groupby("set"):
        # Between visits: where a leaving ties with an event or with the horizon, the two follow other conventions.
        time = data["time"] + 0.5 * (data["event"] == 0)
        known = Surv.from_arrays(data["event"] == 1, time)
        there = cumulative_dynamic_auc(known, known, data["score"], HORIZONS)[0]
        here = time_dependent_auroc(time, data["event"], data["score"], HORIZONS)
        largest = max(largest, float(np.abs(there - [found.value for found in here]).max()))
    return largest


def ensure_r() -> None:
    """Installs what is missing of R and the two packages by apt-get, or ends saying what to install."""
    wanted = [name for name in PACKAGES if not _r_has(name)]
    if not wanted:
        return
    packages = ["r-base-core", *(PACKAGES[name] for name in wanted)]
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    if shutil.which("apt-get") is None or subprocess.run(command, check=False).returncode != 0:
        sys.exit(f"R with {' and '.join(wanted)} is needed, and `{' '.join(command)}` did not succeed here")


def _r_has(package: str) -> bool:
    if shutil.which("Rscript") is None:
        return False
    asked = ["Rscript", "-e", f"quit(status = !requireNamespace('{package}', quietly = TRUE))"]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


def ask_r(folder: Path, sets: pd.DataFrame, studies: pd.DataFrame, rossi: pd.DataFrame | None) -> None:
    """One run of R over all data, whose answers lie in the folder."""
    sets.to_csv(folder / "sets.csv", index=False)
    studies.to_csv(folder / "studies.csv", index=False)
    if rossi is not None:
        rossi.to_csv(folder / "rossi.csv", index=False)
    (folder / "ask.R").write_text(_R, encoding="utf-8")
    subprocess.run(["Rscript", str(folder / "ask.R"), str(folder)], check=True)


def store(file: Path, sets: pd.DataFrame, figures: Sequence[str], answers: np.ndarray) -> None:
    """Keeps data and answers beside the tests; a number written by json reads back to the same bits."""
    kept: list[dict[str, Any]] = []
    for (number, data), answer in zip(sets.groupby("set"), answers, strict=True):
        columns = {str(name): data[name].tolist() for name in data if name != "set"}
        kept.append({"set": number, **columns, "r": dict(zip(figures, answer.tolist(), strict=True))})
    lines = ",\n".join(json.dumps(each, separators=(",", ":")) for each in kept)
    write_whole(file, f"[\n{lines}\n]\n".encode())


def main() -> None:
    """Ask R, compare, print, and store when told to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", action="store_true", help="write R's results on drawn sets for the tests")
    asked = parser.parse_args()
    ensure_r()
    sets = pd.concat([draw(number) for number in range(SETS)])
    studies, rossi = pd.concat([draw_study(number) for number in range(STUDIES)]), read_rossi()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ask_r(folder, sets, studies, rossi)
        answers, times = (np.loadtxt(folder / file, delimiter=",") for file in ("proc.csv", "studies_r.csv"))
        rows = _gaps(f"pROC, {SETS} sets with ties", FIGURES, [ours(data) for _, data in sets.groupby("set")], answers)
        here = [ours_study(data) for _, data in studies.groupby("set")]
        rows += _gaps(f"survival, {STUDIES} drawn studies", SURVIVAL, here, times)
        rows.append(("clogit, infert", infert_difference(folder), SURVIVAL_LIMIT))
        if rossi is not None:
            columns = rossi.drop(columns=["time", "event", "score", "third", "pair"])
            there = np.loadtxt(folder / "rossi_r.csv")[None]
            rows += _gaps("coxph, Rossi", SURVIVAL[:6], [followed(rossi, columns)], there)
    horizons = horizon_difference(studies)
    if horizons is not None:
        rows.append((f"scikit-survival, {STUDIES} drawn studies: time_dependent_auroc", horizons, AUROC_LIMIT))
    print("| compared with | largest difference | allowed |\n|---|---|---|")
    print("\n".join(f"| {name} | {gap:.1e} | {limit:.0e} |" for name, gap, limit in rows))
    if asked.store:
        store(STORED / "proc.json", sets, FIGURES, answers)
        store(STORED / "survival.json", studies, SURVIVAL, times)
    if any(gap > limit for _, gap, limit in rows):
        sys.exit("a difference is above what is allowed")


def _gaps(
    title: str, figures: Sequence[str], here: list[list[float]], there: np.ndarray
) -> list[tuple[str, float, float]]:
    """A row a figure: its name, the largest difference over all sets, and what is allowed."""
    limit = AUROC_LIMIT if figures is FIGURES else SURVIVAL_LIMIT
    gaps = np.abs(np.array(here) - there).max(axis=0)
    return [(f"{title}: {name}", float(gap), limit) for name, gap in zip(figures, gaps, strict=True)]


if __name__ == "__main__":
    main()
