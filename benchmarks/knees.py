"""What a detector trained on healthy simulated knees says of pain, progression and incidence, with ceiling and floors.

    python -m benchmarks.knees [--out OUT] [--persons 1000] [--seeds 0 1 2] [--methods autoencoder pca ...]

The cohort is `anomaly simulate knees`; detectors learn from the baseline images of `split=train`, persons without
pain and without lesions in either knee, with their default settings at 96 pixels, and score those of `split=test`.
The oracle knows every finding's true severity, age, sex and BMI. Nothing is chosen by these figures.
"""

import argparse
from pathlib import Path

import pandas as pd

import anomaly
from anomaly.evaluation import Evaluation
from anomaly.preprocessing import Preprocessing
from anomaly.results import read_facts
from anomaly.simulation import simulate
from benchmarks.coverage import heading, line

OUTCOMES = ("pain", "progression", "incidence")
COVARIATES = ("age", "sex", "bmi")


def main() -> None:
    """Simulate, train, score and print a table in Markdown for each outcome."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmark_out/knees"))
    parser.add_argument("--persons", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", default=["autoencoder", "pca", "mean-image"])
    arguments = parser.parse_args()
    folder = arguments.out / "cohort"
    cohort = simulate("knees", folder, persons=arguments.persons, image_months=(0,))
    scores = {
        (method, seed): scored(cohort, arguments.out / f"{method}-{seed}", method, seed)
        for method in arguments.methods
        for seed in (arguments.seeds if method == "autoencoder" else arguments.seeds[:1])
    }
    truth = read_facts(folder / "truth.json")["outcomes"]
    for outcome in OUTCOMES:
        print(f"\n{outcome}, {truth[outcome]['test']['events']} of {truth[outcome]['test']['knees']} knees\n")
        heading(["score", "seed", "AUROC", "95 %", "adjusted for age, sex, BMI", "odds ratio per SD, adjusted"])
        for name, area in truth[outcome]["test"]["auroc"].items():
            line([f"truth: {name}", "", f"{area:.3f}", "", "", ""])
        for place, ((method, seed), file) in enumerate(scores.items()):
            out = file.parent / outcome
            found = anomaly.evaluate(file, cohort, outcome=outcome, subject="subject", adjust=COVARIATES, out=out)
            told(found, method, seed, floors=place == 0)


def scored(cohort: Path, out: Path, method: str, seed: int) -> Path:
    """Scores of the test knees by a detector that learned from the healthy ones; made once."""
    run = anomaly.learn(
        cohort, out / "run", method=method, preprocessing=Preprocessing(size=96), seed=seed,
        where={"split": "train", "visit": "0"}, subject="subject", resume=True,
    )  # fmt: skip
    where = {"split": "test", "visit": "0"}
    return anomaly.score(run.folder, cohort, out / "scores", where=where, subject="subject", heatmaps=["nifti"]).path


def told(found: Evaluation, method: str, seed: int, *, floors: bool) -> None:
    """The rows of one detector; of the floors too, which are the same beside every detector."""
    rows = found.table.set_index("score")
    alike = pd.Series(found.section("adjusted_roc").table.iloc[0])
    odds = found.section("odds").table.query("score == 'value'").iloc[-1]
    for name in rows.index if floors else ["value"]:
        row, own = rows.loc[name], name == "value"
        line(
            [
                f"**{method}**" if own else name,
                seed if own else "",
                f"{row['auroc']:.3f}",
                f"{row['auroc_low']:.3f}-{row['auroc_high']:.3f}",
                f"{alike['adjusted_auroc']:.3f}" if own else "",
                f"{odds['odds_ratio']:.2f} ({odds['odds_ratio_low']:.2f}-{odds['odds_ratio_high']:.2f})" if own else "",
            ]
        )


if __name__ == "__main__":
    main()
