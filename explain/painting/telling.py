"""The figures of a painter in plain words: what was found, beside its floors, and what follows."""

from collections.abc import Sequence

import numpy as np

from anomaly.translation.figures import Figure, named

ENOUGH = 0.85
"""Share of painted lesions that a judge takes for their class from which on they are said to look like it."""
BLIND = 0.7
"""A judge that knows fewer real lesions, or less real normal tissue, says nothing of painted ones."""


def sentences(figures: Sequence[Figure], names: Sequence[str]) -> list[str]:
    """One for each question that figures answer."""
    told = [_conclusion(figures)]
    if not _blind(figures):
        told += [_judge(figures), _inside(figures, names), _in_place(figures), _out(figures)]
    told += [_tissue(figures), _twins(figures), _outside(figures), _helped(figures)]
    return [each for each in told if each]


def _known(figures: Sequence[Figure]) -> tuple[Figure, Figure]:
    """How many real lesions, and how much real normal tissue, of persons not seen the judge knows."""
    return named(figures, "painted_in")["real"], named(figures, "painted_out")["real"]


def _blind(figures: Sequence[Figure]) -> bool:
    return min(each.value for each in _known(figures)) < BLIND


def _judge(figures: Sequence[Figure]) -> str:
    lesions, normal = _known(figures)
    return (
        f"The judge itself, of persons from whom it did not learn: it knows the class of real lesions in {lesions}, "
        f"real normal tissue in {normal}."
    )


def _conclusion(figures: Sequence[Figure]) -> str:
    found = named(figures, "painted_in")
    ours, real = found["painted"].value, found["real"].value
    if not np.isfinite([ours, real]).all():
        return "There are too few lesions for a judge: whether painted ones look like their class is not known."
    lesions, normal = _known(figures)
    if _blind(figures):
        return (
            f"Nothing can be concluded of whether painted lesions look like their class: the judge knows the class of "
            f"real lesions in {lesions} and real normal tissue in {normal}, where {BLIND} is the least; give more "
            "images, or --judge-steps."
        )
    if real < ENOUGH:
        return (
            f"The judge knows real lesions' class in {found['real']} only, so it cannot say much of painted ones; give "
            "more images, or --judge-steps."
        )
    verdict = "look" if ours >= ENOUGH else "do not look enough"
    return f"To an independent classifier painted lesions {verdict} like their class: {found['painted']} of them do."


def _inside(figures: Sequence[Figure], names: Sequence[str]) -> str:
    found = named(figures, "painted_in")
    each = [f"{name} {named(figures, f'painted_in_{name}').get('painted')}" for name in names]
    return (
        f"Painted in, where there was none: taken for their class {found['painted']} ({'; '.join(each)}), real lesions "
        f"{found['real']}, real ones laid over {found['copy-paste']}, a smooth filling {found['smooth']}, the local "
        f"mean {found['local mean']}; by lot {found['chance'].value:.3f}."
    )


def _in_place(figures: Sequence[Figure]) -> str:
    found, other = named(figures, "in_place"), named(figures, "as_another_class")
    more = f", painted as another class {other['painted']} for that" if other else ""
    return f"Painted where one was: as what it was {found['painted']}{more}."


def _out(figures: Sequence[Figure]) -> str:
    found = named(figures, "painted_out")
    return (
        f"Painted out: taken for normal {found['painted']}, a smooth filling {found['smooth']}, the local mean "
        f"{found['local mean']}, real normal tissue {found['real']}, lesions as they are {found['unchanged']}."
    )


def _tissue(figures: Sequence[Figure]) -> str:
    found, grain = named(figures, "normal_off"), named(figures, "normal_grain")
    mean = next(name for name in found if name.startswith("mean of"))
    return (
        f"Normal tissue that was hidden: one painting is off by {found['painted']} (mean absolute difference, of a "
        f"range of 2), the {mean} by {found[mean]}, the smoothest filling {found['laplace']}, the local mean "
        f"{found['local mean']}; steps between neighbours are {grain['painted']} where the truth has "
        f"{grain['real']} and the smoothest filling {grain['laplace']}. Two paintings are "
        f"{named(figures, 'draws_apart')['painted']} apart."
    )


def _twins(figures: Sequence[Figure]) -> str:
    found = named(figures, "twin_off")
    if not found:
        return ""
    return (
        f"Twins: inside of masks the pseudo-healthy image is {found['painted']} from the true one, the smoothest "
        f"filling {found['laplace']}, the local mean {found['local mean']}, the image as it is {found['unchanged']}."
    )


def _outside(figures: Sequence[Figure]) -> str:
    (found,) = (each for each in figures if each.measure == "changed_outside")
    return f"Outside of masks {found.value:.6g} of the pixels differ as stored, in {found.images} files written."


def _helped(figures: Sequence[Figure]) -> str:
    gained, dice = named(figures, "dice_gained"), named(figures, "dice")
    if not gained or not dice:
        return ""
    found = gained["with painted"]
    what = "does not say that they help"
    if np.isfinite(found.low):
        what = "they help" if found.low > 0 else "they harm" if found.high < 0 else what
    return (
        f"A segmenter finds real lesions with a Dice of {dice['without painted']} without painted ones and "
        f"{dice['with painted']} with them; the difference by person is {found}: {what}. Each was trained once."
    )
