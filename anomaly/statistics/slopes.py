"""How fast scores rise with time, and whether they rise faster in one group: mixed models, and what stands in."""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from statsmodels.regression.mixed_linear_model import MixedLM, VCSpec

from anomaly.errors import EvaluationError
from anomaly.statistics.design import covariate_matrix, refuse_useless
from anomaly.statistics.estimates import FEWEST_PERSONS, Estimate, groups_of, persons, too_few
from anomaly.statistics.likelihood import wald
from anomaly.statistics.linear import least_squares

# A variance between persons smaller than this share of that of the noise is none.
_NONE = 1e-6


@dataclass(frozen=True)
class Slopes:
    """Slopes by a mixed model, and beside them by least squares with errors by person.

    Args:
        mixed: by name (`without` and `with` the group, `difference`; `all` where there are no groups); empty where no
            mixed model converged.
        marginal: the same of the independent model, which is always there.
        remark: which random effects the mixed model has, and why not all.
    """

    mixed: dict[str, Estimate]
    marginal: dict[str, Estimate]
    remark: str


def slopes(
    value: ArrayLike,
    time: ArrayLike,
    subject: ArrayLike,
    group: ArrayLike | None = None,
    covariates: ArrayLike | None = None,
    *,
    unit: ArrayLike | None = None,
    confidence: float = 0.95,
) -> Slopes:
    """How much values (n,) rise in one unit of time (n,), of persons (n,) seen several times.

    The mixed model (Laird and Ware 1982) has a level and a slope of each person drawn from a normal distribution and,
    where persons have several sides, a level of each side, by restricted likelihood (statsmodels). Where slopes of
    persons cannot be told from noise, or it does not converge, levels alone; where these do not either, none. It
    supposes that visits are missing by what was seen before; the independent model (GEE, as least squares with errors
    by person) that they are missing by chance, but not that anything is normal.

    Args:
        group: (n,) of 0/1, such as an outcome, whose slopes are compared.
        covariates: (n, p) that levels may differ by.
        unit: (n,) what is seen several times, such as a person's knee; the person by default.

    The mixed model needs ten persons (of each group, and twenty in all), and its Student's t has as many degrees of
    freedom as there are persons beyond the columns that are told between them; of a difference Satterthwaite's.

    Raises:
        EvaluationError: values or times that are not finite, nobody who was seen twice, columns of time, group and
            covariates of which one follows from the others, as `mean_difference`.
    """
    values, times = (np.asarray(each, dtype=np.float64) for each in (value, time))
    people = groups_of(subject, values.size)
    sides = people if unit is None else groups_of(unit, values.size)
    if not (np.isfinite(values).all() and np.isfinite(times).all()):
        raise EvaluationError("values and times must be finite numbers; leave the others out")
    if not (np.bincount(sides) > 1).any() or not np.ptp(values) > 0:
        raise EvaluationError("nobody was seen twice, or no value varies; there is no slope")
    matrix, named = covariate_matrix(covariates, values.size)
    if group is None:
        which, timed, names = None, times[:, None], ["all"]
        refuse_useless(np.column_stack([times, matrix]), ["time", *named])
    else:
        which = np.asarray(group, dtype=np.float64)
        if not set(np.unique(which)) == {0.0, 1.0}:
            raise EvaluationError("both groups are needed to compare slopes, as 0 and 1")
        timed, names = np.column_stack([times * (1 - which), times * which, which]), ["without", "with"]
        every = np.column_stack([times, times * which, which, matrix])
        refuse_useless(every, ["time", "time in the group", "the group", *named])
    centred = matrix - matrix.mean(axis=0) if matrix.size else matrix
    columns = np.column_stack([timed, centred, np.ones(values.size)])
    mixed, remark = _mixed(values, columns, times, people, sides, which, names, confidence)
    return Slopes(mixed, _marginal(values, columns, people, names, confidence), remark)


def _freedom(people: np.ndarray, which: np.ndarray | None, width: int) -> tuple[list[float], str]:
    """Degrees of freedom of each slope, persons of whom it is told less columns; and why there are too few."""
    if which is None:
        count = persons(people)
        few = f"{count} persons; {FEWEST_PERSONS} are needed" if count < FEWEST_PERSONS else ""
        return [count - width + 1.0], few or ("more columns than persons" if count < width else "")
    # Level and slope of a group are its own, covariates of both: what is left of them counts in each.
    shared = width - 4
    found = [float(persons(people[which == state]) - 2 - shared) for state in (0, 1)]
    few = too_few(which, people).removeprefix("no interval: ")
    return found, few or ("more columns than persons" if min(found) < 1 else "")


def _marginal(
    values: np.ndarray, columns: np.ndarray, people: np.ndarray, names: list[str], confidence: float
) -> dict[str, Estimate]:
    found = {}
    for place, name in enumerate(names):
        order = [place, *(k for k in range(columns.shape[1]) if k != place)]
        found[name] = least_squares(values, columns[:, order], people, confidence=confidence)
    if len(names) == 2:
        # Of time and of time in the group, the second is what the group's slope has beyond the other.
        both = np.column_stack([columns[:, 1], columns[:, 0] + columns[:, 1], columns[:, 2:]])
        found["difference"] = least_squares(values, both, people, confidence=confidence)
    return found


def _mixed(
    values: np.ndarray,
    columns: np.ndarray,
    times: np.ndarray,
    people: np.ndarray,
    sides: np.ndarray,
    which: np.ndarray | None,
    names: list[str],
    confidence: float,
) -> tuple[dict[str, Estimate], str]:
    freedom, few = _freedom(people, which, columns.shape[1])
    if few:
        return {}, f"none: {few}"
    several = np.unique(np.stack([people, sides]), axis=1).shape[1] > people.max() + 1
    effects = " and of each side" if several else ""
    enough = np.bincount(people).max() > 2
    tried = (
        [(True, f"a level and a slope of each person{', a level of each side' if several else ''}")] if enough else []
    )
    tried.append((False, f"a level of each person{effects}, not a slope"))
    reason = "" if enough else "nobody was seen three times"
    for sloped, told in tried:
        fit, why = _fitted(values, columns, times, people, sides if several else None, sloped)
        if fit is not None:
            method = f"mixed model, restricted likelihood, t: {told}"
            return _told(*fit, names, freedom, method, confidence), told + (f" ({reason})" if reason else "")
        reason = why
    return {}, f"none: {reason}"


def _fitted(
    values: np.ndarray,
    columns: np.ndarray,
    times: np.ndarray,
    people: np.ndarray,
    sides: np.ndarray | None,
    sloped: bool,
) -> tuple[tuple[np.ndarray, np.ndarray] | None, str]:
    """Coefficients and covariance of a mixed model, or why there are none."""
    unit, reach = float(values.std()), float(np.abs(times).max())
    drawn = np.column_stack([np.ones(values.size), times / reach]) if sloped else np.ones((values.size, 1))
    scale = np.linalg.norm(columns, axis=0) / np.sqrt(values.size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model = MixedLM(
                (values - values.mean()) / unit, columns / scale, people, drawn,
                exog_vc=None if sides is None else _of_sides(people, sides),
            )  # fmt: skip
            fit = model.fit(reml=True, method=["lbfgs", "bfgs"])
        except (np.linalg.LinAlgError, ValueError) as error:
            return None, f"the model with {'slopes' if sloped else 'levels'} of persons failed ({error})"
    width = columns.shape[1]
    covariance = np.asarray(fit.cov_params())[:width, :width]
    if not fit.converged or not np.isfinite(covariance).all() or (np.diag(covariance) <= 0).any():
        return None, f"the model with {'slopes' if sloped else 'levels'} of persons did not converge"
    # A correlation of one between levels and slopes is an edge too, but one that leaves slopes their spread.
    if sloped and np.asarray(fit.cov_re)[1, 1] < _NONE * fit.scale:
        return None, "slopes of persons differ no more than noise makes them"
    back = unit / scale
    return (np.asarray(fit.fe_params) * back, covariance * np.outer(back, back)), ""


def _of_sides(people: np.ndarray, sides: np.ndarray) -> VCSpec:
    """A level of each side of each person, for statsmodels, whose persons come in order."""
    mats, names = [], []
    for person in range(int(people.max()) + 1):
        own = sides[people == person]
        kinds = np.unique(own)
        mats.append((own[:, None] == kinds).astype(np.float64))
        names.append([f"side {kind}" for kind in kinds])
    return VCSpec(["side"], [names], [mats])


def _told(
    params: np.ndarray, covariance: np.ndarray, names: list[str], freedom: list[float], method: str, confidence: float
) -> dict[str, Estimate]:
    found = {
        name: wald(float(params[k]), float(covariance[k, k]), method, confidence=confidence, degrees=freedom[k])
        for k, name in enumerate(names)
    }
    if len(names) == 2:
        weight = np.zeros(params.size)
        weight[:2] = -1, 1
        own = np.diag(covariance)[:2]
        degrees = float(own.sum() ** 2 / np.sum(own**2 / np.array(freedom)))
        value, variance = float(weight @ params), float(weight @ covariance @ weight)
        found["difference"] = wald(value, variance, method, confidence=confidence, degrees=degrees)
    return found
