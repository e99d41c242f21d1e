"""What must not change along a direction: age, sex, site, as far as the codes of real people tell them.

Where a nuisance is told from the codes by a linear model, a direction orthogonal to its coefficients leaves that
prediction as it is. What the codes tell otherwise than linearly may still change, and what cannot be told from them
cannot be kept either: `told` says how well each can.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from anomaly.errors import AnomalyError
from anomaly.statistics.metrics import auroc
from explain.latent.directions import PENALTIES

FOLDS = 5
FEWEST = 10
"""People of whom an attribute is known, at least."""
MOST_LEVELS = 20

Nuisances = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""By name, the values of controls (n,) and of cases (m,)."""


@dataclass(frozen=True)
class Told:
    """How well a nuisance is told from codes of people that the model did not see (5-fold cross-validation).

    Args:
        measure: "R2" of a number; "AUROC" of a category, the mean over its levels, each against the rest.
        value: 1 is perfect; nothing is told at 0 (R2, which may be lower) or 0.5 (AUROC).
        people: of whom it is known.
    """

    measure: str
    value: float
    people: int


def coefficients(codes: np.ndarray, attribute: np.ndarray, people: np.ndarray | None = None) -> np.ndarray:
    """How a linear prediction of an attribute changes with the codes, in units of the codes.

    Ridge regression on standardised codes, the means of each person's, its penalty chosen by leaving one out; of
    categories that of 1 against -1, for each level, or one alone for two.

    Args:
        codes: (n, K) of real images.
        attribute: (n,); numbers of more than two values are a quantity, all else categories. None, NaN and empty
            texts are unknown, and left out. Levels of fewer than five people are left out as well.
        people: whose images they are, (n,); None where each is another's.

    Returns:
        (1, K), or (levels, K) where there are more than two.

    Raises:
        AnomalyError: not one value for each code; known of fewer than ten people; all the same; or more than twenty
            levels, which are numbers given as texts.
    """
    codes, values, _, quantity = _known(codes, attribute, people)
    model = _model(quantity).fit(codes, values)
    return np.atleast_2d(model[-1].coef_) / model[0].scale_


def told(codes: np.ndarray, attribute: np.ndarray, people: np.ndarray | None = None) -> Told:
    """How well an attribute is told from codes; arguments and errors as of `coefficients`."""
    from sklearn.model_selection import KFold, StratifiedGroupKFold, cross_val_predict

    codes, values, people, quantity = _known(codes, attribute, people)
    model, count = _model(quantity), len(np.unique(people))
    if quantity:
        folds = KFold(FOLDS, shuffle=True, random_state=0)
        predicted = cross_val_predict(model, codes, values, cv=folds)
        left = np.square(values - predicted).sum() / np.square(values - values.mean()).sum()
        return Told("R2", float(1 - left), count)
    apart = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    scores = cross_val_predict(model, codes, values, groups=people, cv=apart, method="decision_function")
    levels = np.unique(values)
    by_level = scores.T if scores.ndim == 2 else [-scores, scores]
    areas = [auroc(values == level, score) for level, score in zip(levels, by_level, strict=True)]
    return Told("AUROC", float(np.mean(areas)), count)


def all_coefficients(
    codes: np.ndarray, nuisances: Nuisances, controls: int, people: np.ndarray | None = None
) -> tuple[np.ndarray, dict[str, Told]]:
    """The coefficients (r, K) of all nuisances, and how well each is told, from codes of controls and then cases.

    Raises:
        AnomalyError: as `coefficients`, with the name of the nuisance.
    """
    vectors, how_well = [], {}
    for name, sides in nuisances.items():
        expected = (controls, len(codes) - controls)
        if (len(sides[0]), len(sides[1])) != expected:
            raise AnomalyError(
                f"{name} is given of {len(sides[0])} controls and {len(sides[1])} cases, images of {expected[0]} and "
                f"{expected[1]}; give one value for each"
            )
        values = np.array([each for side in sides for each in np.asarray(side).tolist()], dtype=object)
        try:
            vectors.append(coefficients(codes, values, people))
            how_well[name] = told(codes, values, people)
        except AnomalyError as error:
            raise AnomalyError(f"{name} cannot be kept as it is: {error}") from error
    return np.concatenate([np.zeros((0, codes.shape[1])), *vectors]), how_well


def _model(quantity: bool) -> Any:
    from sklearn.linear_model import RidgeClassifierCV, RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), RidgeCV(PENALTIES) if quantity else RidgeClassifierCV(PENALTIES))


def _known(
    codes: np.ndarray, attribute: np.ndarray, people: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, bool]:
    """Codes, values and names of those of whom it is known, and whether it is a quantity; a row a person.

    Of a category a person has a row for each level seen of them (the side of a knee, say).
    """
    attribute, people = np.asarray(attribute), np.arange(len(codes)) if people is None else np.asarray(people)
    if attribute.shape != (len(codes),) or people.shape != (len(codes),):
        raise AnomalyError(
            f"got an attribute of shape {attribute.shape} and people of shape {people.shape} for {len(codes)} codes; "
            "expected one each"
        )
    there = np.array([each is not None and each == each and each != "" for each in attribute.tolist()], dtype=bool)
    values = np.array(attribute[there].tolist())  # numbers in a column of objects are numbers
    codes, people = codes[there].astype(np.float64), people[there]
    numbers = values.dtype.kind in "iuf"
    quantity = numbers and len(np.unique(values)) > 2
    codes, values, people = _a_row_each(codes, values, people, quantity)
    levels, counts = np.unique(values, return_counts=True)
    if not quantity:
        common = np.isin(values, levels[counts >= FOLDS])
        codes, values, people = codes[common], values[common], people[common]
        levels = np.unique(values)
    if (count := len(np.unique(people))) < FEWEST or len(levels) < 2:
        raise AnomalyError(
            f"the attribute is known of {count} people and has {len(levels)} values or levels that are common "
            f"enough; expected {FEWEST} people and 2, else leave it out"
        )
    if not quantity and len(levels) > MOST_LEVELS:
        raise AnomalyError(f"the attribute has {len(levels)} levels, such as {levels[0]!r}; give numbers as numbers")
    return codes, values, people, quantity


def _a_row_each(
    codes: np.ndarray, values: np.ndarray, people: np.ndarray, quantity: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means over the images of a person, of a category over those of one level."""
    table = pd.DataFrame(codes).assign(person=people, value=values)
    rows = table.groupby(["person"] if quantity else ["person", "value"]).mean().reset_index()
    return rows[[*range(codes.shape[1])]].to_numpy(), rows["value"].to_numpy(), rows["person"].to_numpy()
