"""The same figures from R and from here, on the same data: python -m benchmarks.references [--store].

R's pROC (variance of DeLong, interval, paired test) on 50 drawn data sets with ties; R's survival (clogit on
infert, coxph on Rossi's prisoners with and without clusters, the log-rank tests). Prints a Markdown table of the
largest differences and fails where one is above its limit. --store keeps pROC's results, with the data they
were made from, in tests/data/proc.json, which the suite compares without R.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly import statistics
from anomaly.files import write_whole
from anomaly.statistics.hazards import cox
from anomaly.statistics.paired import conditional_odds_ratio
from anomaly.statistics.survival import log_rank

STORED = Path(__file__).parents[1] / "tests" / "data" / "proc.json"
SETS = 50
PROC_LIMIT, SURVIVAL_LIMIT = 1e-10, 1e-6
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
rossi <- read.csv(file.path(folder, "rossi.csv"))
formula <- Surv(week, arrest) ~ fin + age + race + wexp + mar + paro + prio
plain <- coxph(formula, data = rossi)
robust <- coxph(formula, data = rossi, cluster = pair)
groups <- coxph(Surv(week, arrest) ~ factor(third), data = rossi, cluster = pair, ties = "breslow")
keep(c(coef(logit), sqrt(diag(vcov(logit))), coef(plain)[1], sqrt(vcov(plain)[1, 1]), plain$concordance["concordance"],
       sqrt(vcov(robust)[1, 1]), survdiff(Surv(week, arrest) ~ factor(third), data = rossi)$chisq,
       summary(groups)$robscore["test"]), "survival.csv")
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


def survival_differences(folder: Path, rossi: pd.DataFrame) -> dict[str, float]:
    """The largest difference from R's survival, by what was compared."""
    expected = np.loadtxt(folder / "survival.csv")
    infert = pd.read_csv(folder / "infert.csv")
    coefficients, errors = [], []
    for name, other in (("spontaneous", "induced"), ("induced", "spontaneous")):
        found = conditional_odds_ratio(infert["case"], infert[name], infert["stratum"], infert[[other]])
        coefficients.append(np.log(found.value) / infert[name].std())
        errors.append(np.sqrt(found.variance) / infert[name].std())
    subject, scale = rossi["pair"], rossi["fin"].std()
    columns = rossi.drop(columns=["week", "arrest", "fin", "third", "pair"])
    plain = cox(rossi["week"], rossi["arrest"], rossi["fin"], columns)
    robust = cox(rossi["week"], rossi["arrest"], rossi["fin"], columns, subject)
    ranks = [log_rank(rossi["week"], rossi["arrest"], rossi["third"], who).statistic for who in (None, subject)]
    compared = {
        "clogit, infert: coefficients": (coefficients, expected[:2]),
        "clogit, infert: standard errors": (errors, expected[2:4]),
        "coxph, Rossi: coefficient": (np.log(plain.hazard_ratio.value) / scale, expected[4]),
        "coxph, Rossi: standard error": (np.sqrt(plain.hazard_ratio.variance) / scale, expected[5]),
        "coxph, Rossi: concordance": (plain.concordance, expected[6]),
        "coxph, Rossi, cluster: standard error": (np.sqrt(robust.hazard_ratio.variance) / scale, expected[7]),
        "survdiff, Rossi: chi-squared": (ranks[0], expected[8]),
        "coxph, Rossi, cluster: robust score test": (ranks[1], expected[9]),
    }
    return {name: float(np.max(np.abs(np.subtract(here, there)))) for name, (here, there) in compared.items()}


def read_rossi() -> pd.DataFrame:
    """Rossi's prisoners, as lifelines ships them, in made-up pairs and in three groups of age."""
    from lifelines.datasets import load_rossi

    rossi = load_rossi()
    third = np.searchsorted(np.quantile(rossi["age"], [1 / 3, 2 / 3]), rossi["age"])
    return rossi.assign(pair=np.arange(len(rossi)) // 2, third=third)


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


def ask_r(folder: Path, sets: pd.DataFrame, rossi: pd.DataFrame) -> np.ndarray:
    """One run of R over all data; pROC's answers (sets, figures)."""
    sets.to_csv(folder / "sets.csv", index=False)
    rossi.to_csv(folder / "rossi.csv", index=False)
    (folder / "ask.R").write_text(_R, encoding="utf-8")
    subprocess.run(["Rscript", str(folder / "ask.R"), str(folder)], check=True)
    return np.loadtxt(folder / "proc.csv", delimiter=",")


def store(sets: pd.DataFrame, answers: np.ndarray) -> None:
    """Keeps data and answers beside the tests; a number written by json reads back to the same bits."""
    kept: list[dict[str, Any]] = []
    for (number, data), answer in zip(sets.groupby("set"), answers, strict=True):
        columns = {name: data[name].tolist() for name in ("outcome", "first", "second")}
        kept.append({"set": number, **columns, "r": dict(zip(FIGURES, answer.tolist(), strict=True))})
    lines = ",\n".join(json.dumps(each, separators=(",", ":")) for each in kept)
    write_whole(STORED, f"[\n{lines}\n]\n".encode())


def main() -> None:
    """Ask R, compare, print, and store when told to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", action="store_true", help=f"write {STORED.name} for the tests")
    asked = parser.parse_args()
    ensure_r()
    sets, rossi = pd.concat([draw(number) for number in range(SETS)]), read_rossi()
    with tempfile.TemporaryDirectory() as name:
        answers = ask_r(Path(name), sets, rossi)
        others = survival_differences(Path(name), rossi)
    here = np.array([ours(data) for _, data in sets.groupby("set")])
    gaps = dict(zip(FIGURES, np.abs(here - answers).max(axis=0), strict=True))
    rows = [(f"pROC, {SETS} sets with ties: {name}", gap, PROC_LIMIT) for name, gap in gaps.items()]
    rows += [(name, gap, SURVIVAL_LIMIT) for name, gap in others.items()]
    print("| compared with R | largest difference | allowed |\n|---|---|---|")
    print("\n".join(f"| {name} | {gap:.1e} | {limit:.0e} |" for name, gap, limit in rows))
    if asked.store:
        store(sets, answers)
    if any(gap > limit for _, gap, limit in rows):
        sys.exit("a difference is above what is allowed")


if __name__ == "__main__":
    main()
