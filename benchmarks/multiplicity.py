"""Whether the corrections for many tests promise what they keep, on scores whose truth is known.

    python -m benchmarks.multiplicity [--repeats 1000] [--seed 0]

Twenty scores of the same 200 images (100 subjects of two), correlated 0.5 with each other and 0.5 within subjects;
some know the outcome (AUROC 0.7), the others nothing. Each is tested against an AUROC of 0.5. Holm promises that a
false discovery is made in at most 5 % of cohorts, Benjamini-Hochberg that at most 5 % of the discoveries are false.
"""

import argparse

import numpy as np
from scipy.stats import norm

from anomaly.statistics import adjust, auroc_interval
from benchmarks.coverage import Share, heading, line, pairs

SCORES, SUBJECTS, CORRELATION, AUROC = 20, 100, 0.5, 0.7
METHODS = ("none", "bonferroni", "holm", "bh", "by")


def main() -> None:
    """Print a table in Markdown, a row for each correction and number of scores that know something."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    heading(["scores that know", "correction", "cohorts with a false discovery", "false discoveries", "found"])
    for known in (0, 5, 15):
        rng = np.random.default_rng([arguments.seed, known])
        p_values = np.array([cohort(known, rng) for _ in range(arguments.repeats)])
        for method in METHODS:
            line([known, method, *discoveries(p_values, known, method)])


def cohort(known: int, rng: np.random.Generator) -> np.ndarray:
    """p-values (20,) of the scores of one cohort; the first `known` tell the outcome."""
    event = pairs(1, SUBJECTS, CORRELATION, rng)[0] < norm.ppf(0.4)
    own = pairs(SCORES, SUBJECTS, CORRELATION, rng)
    scores = np.sqrt(0.5) * pairs(1, SUBJECTS, CORRELATION, rng) + np.sqrt(0.5) * own
    scores[:known] += np.sqrt(2) * norm.ppf(AUROC) * event
    whose = np.repeat(np.arange(SUBJECTS), 2)
    return np.array([auroc_interval(event, score, whose, scale="logit").p_value for score in scores])


def discoveries(p_values: np.ndarray, known: int, method: str) -> tuple[Share, Share, Share]:
    """Of p-values (B, 20): cohorts with a false discovery, mean share of false ones, share of true ones found."""
    kept = p_values if method == "none" else np.array([adjust(row, method) for row in p_values])
    called = kept < 0.05
    false, right = called[:, known:].sum(axis=1), called[:, :known].sum(axis=1)
    found = right.mean() / known if known else float("nan")
    return Share((false > 0).mean()), Share(np.mean(false / np.maximum(false + right, 1))), Share(found)


if __name__ == "__main__":
    main()
