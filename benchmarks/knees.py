"""What a detector trained on healthy simulated knees says of pain, progression and incidence, with ceiling and floors.

    python -m benchmarks.knees [--out OUT] [--persons 1000] [--cohort-seed 0] [--seeds 0 1 2] [--only NAME ...]

The cohort is `anomaly simulate knees`; detectors learn from the baseline images of `split=train`, persons without
pain and without lesions in either knee, at 96 pixels, and score those of `split=test`. The oracle knows every finding's
true severity, age, sex and BMI. Settings that are not the defaults were chosen on the cohort of seed 1; figures are
reported on that of seed 0.
"""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd

import anomaly
from anomaly.cohorts.results import read_facts
from anomaly.evaluation import Evaluation
from anomaly.images.preprocessing import Preprocessing
from anomaly.simulation import simulate
from benchmarks.coverage import heading, line

# Method, settings, intensity. One scanner's scale of 8 bits is the same in all images, so black and white need not be
# found in each, which a bright effusion would upset.
CONFIGURATIONS: dict[str, tuple[str, dict[str, Any], str]] = {
    "autoencoder": ("autoencoder", {}, "percentile"),
    "autoencoder, chosen": ("autoencoder", {"value_from": "l2_excess"}, "range"),
    "pca": ("pca", {}, "range"),
    "mean-image": ("mean-image", {}, "range"),
}
OUTCOMES = ("pain", "progression", "incidence")
COVARIATES = ("age", "sex", "bmi")


def main() -> None:
    """Simulate, train, score and print a table in Markdown for each outcome."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmark_out/knees"))
    parser.add_argument("--persons", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--cohort-seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=list(CONFIGURATIONS), help="names of configurations")
    arguments = parser.parse_args()
    folder = arguments.out / f"cohort{arguments.cohort_seed}"
    cohort = simulate("knees", folder, persons=arguments.persons, image_months=(0,), seed=arguments.cohort_seed)
    scores = {
        (name, seed): scored(cohort, arguments.out / f"{name.replace(', ', '-')}-{seed}", name, seed)
        for name in arguments.only
        for seed in (arguments.seeds if "autoencoder" in name else arguments.seeds[:1])
    }
    truth = read_facts(folder / "truth.json")["outcomes"]
    for outcome in OUTCOMES:
        print(f"\n{outcome}, {truth[outcome]['test']['events']} of {truth[outcome]['test']['knees']} knees\n")
        heading(["score", "seed", "AUROC", "95 %", "AUROC among people alike", "odds ratio per SD, adjusted"])
        for name, area in truth[outcome]["test"]["auroc"].items():
            line([f"truth: {name}", "", f"{area:.3f}", "", "", ""])
        for (name, seed), file in scores.items():
            out = file.parent / outcome
            found = anomaly.evaluate(file, cohort, outcome=outcome, subject="subject", adjust=COVARIATES, out=out)
            told(found, name, seed, floors=seed == arguments.seeds[0] and "autoencoder" in name)


def scored(cohort: Path, out: Path, name: str, seed: int) -> Path:
    """Scores of the test knees by a detector that learned from the healthy ones; made once."""
    method, settings, intensity = CONFIGURATIONS[name]
    run = anomaly.learn(
        cohort, out / "run", method=method, settings=settings, seed=seed,
        preprocessing=Preprocessing(size=96, intensity=intensity),
        where={"split": "train", "visit": "0"}, subject="subject", resume=True,
    )  # fmt: skip
    where = {"split": "test", "visit": "0"}
    return anomaly.score(run.folder, cohort, out / "scores", where=where, subject="subject", heatmaps=["nifti"]).path


def told(found: Evaluation, name: str, seed: int, *, floors: bool) -> None:
    """The rows of one detector; of its floors too, which are the same for every seed."""
    rows = found.table.set_index("score")
    alike = pd.Series(found.section("adjusted_roc").table.iloc[0])
    odds = found.section("odds").table.query("score == 'value'").iloc[-1]
    for score in rows.index if floors else ["value"]:
        row, own = rows.loc[score], score == "value"
        line(
            [
                f"**{name}**" if own else score,
                seed if own else "",
                f"{row['auroc']:.3f}",
                f"{row['auroc_low']:.3f}-{row['auroc_high']:.3f}",
                f"{alike['adjusted_auroc']:.3f}" if own else "",
                f"{odds['odds_ratio']:.2f} ({odds['odds_ratio_low']:.2f}-{odds['odds_ratio_high']:.2f})" if own else "",
            ]
        )


if __name__ == "__main__":
    main()
