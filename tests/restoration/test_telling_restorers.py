"""What is said of restored images: no interval of a handful of people, and no figure of them twice."""

import numpy as np
import pandas as pd
import pytest

from anomaly.restoration.telling import _sentence, _table, summary


def figures(people: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    found = pd.DataFrame({"subject": [f"s{k}" for k in range(people)]})
    for name in ("degraded", "restored"):
        for measure in ("psnr", "ssim", "rmse", "nmse"):
            found[f"{name}_{measure}"] = rng.random(people)
    return found


@pytest.mark.parametrize("people", [2, 9])
def test_a_handful_of_people_has_means_and_no_interval(people: int) -> None:
    found = figures(people)
    told = summary(found, ["degraded"])
    assert told[["low", "high"]].isna().all(axis=None)
    assert (told["method"] == f"no interval: {people} persons; 10 are needed").all()
    mean = told.set_index(["version", "measure"]).loc[("restored", "psnr"), "value"]
    assert mean == pytest.approx(found["restored_psnr"].mean())
    assert _sentence(told, "psnr", "dB").count("(no interval with so few persons)") == 2
    assert "nan" not in _table(told)


def test_ten_people_have_one() -> None:
    told = summary(figures(10), ["degraded"])
    assert (told["low"] < told["value"]).all()
    assert (told["value"] < told["high"]).all()
