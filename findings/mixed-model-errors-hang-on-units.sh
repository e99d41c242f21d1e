#!/usr/bin/env bash
# How much persons differ is what a mixed model of repeated visits is asked for, and its standard error says whether that
# is known at all. statsmodels' MixedLM prints, in the table of summary(), the variance between persons in the units of
# the outcome, and beside it an error that was multiplied by the residual's deviation where its variance is due: the same
# data in centimetres instead of millimetres have another ratio of the two. With a residual variance of 9 the error
# printed is 0.24 where estimates scatter by 0.6. params, bse and conf_int() hold yet another thing, the variance divided
# by the residual variance. bse times scale is near the scatter.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet statsmodels==0.15.0 pandas==2.3.3 numpy==2.4.6 scipy==1.17.1 2>/dev/null
cd "$folder"
venv/bin/python - <<'PYTHON' 2>/dev/null
import numpy as np
import pandas as pd
import statsmodels
import statsmodels.formula.api as smf

print("statsmodels", statsmodels.__version__)
PERSONS, VISITS = 200, 4
who = np.repeat(np.arange(PERSONS), VISITS)


def fitted(seed, unit=1.0):
    rng = np.random.default_rng(seed)
    outcome = rng.normal(0, 2, PERSONS)[who] + rng.normal(0, 3, PERSONS * VISITS)
    found = smf.mixedlm("y ~ 1", pd.DataFrame({"y": unit * outcome, "who": who}), groups="who").fit()
    row = found.summary().tables[1].loc["who Var"]
    return found.cov_re.iloc[0, 0], float(row["Coef."]), float(row["Std.Err."]), found.bse["who Var"] * found.scale, found


ratios = {}
for unit, name in ((1.0, "millimetres"), (10.0, "tenths of a millimetre")):
    variance, printed, error, scaled, found = fitted(0, unit)
    ratios[name] = printed / error
    print(f"{name}: printed {printed:.3f}, error {error:.3f}, ratio {ratios[name]:.2f}; params {found.params['who Var']:.4f}")
many = np.array([fitted(seed)[:4] for seed in range(60)])
scatter, printed, scaled = many[:, 0].std(ddof=1), many[:, 2].mean(), many[:, 3].mean()
print(f"60 studies: estimates scatter by {scatter:.3f}; mean error printed {printed:.3f}; bse times scale {scaled:.3f}")
one, other = ratios.values()
as_said = abs(other / one - 10) < 0.1 and printed < 0.5 * scatter and 0.8 < scaled / scatter < 1.4
raise SystemExit(not as_said)
PYTHON
