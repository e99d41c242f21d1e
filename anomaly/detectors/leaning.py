"""How far a committee leans on the members that tell images to come from normals, where nobody says who is ill."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from anomaly.statistics.auroc import auroc_covariance

SPREAD = 0.08  # standard deviation of members' true AUROC around their mean, over the sets this was made with
STEEPNESS = 10.0  # of AUROC: a member that tells ten points better counts e times as much
MOST = 1.0  # of the logarithm of a factor: the share is a lower bound, so that what is read is too much, not too little
LEAST_ILL = 1e-3
TO_TELL = 10  # images of either side, fewer than which tell no share
FEWEST = 2  # people of either side that an AUROC has an error by


class Leaning(NamedTuple):
    """What images to come say of a committee.

    ill: the share of them that is no longer normal, as far as the committee sees. told: for each member the AUROC of
    held-out normals against the images to come. factors: what each member's weight is multiplied by. enough: whether
    there are enough images to tell that share of.
    """

    ill: float
    told: np.ndarray
    factors: np.ndarray
    enough: bool


def leaning(
    normals: np.ndarray, to_come: np.ndarray, weights: np.ndarray, whose: Sequence[np.ndarray | None] = (None, None)
) -> Leaning:
    """How much more the members count that tell images to come from held-out normals.

    Where a share s of the images to come is ill, their AUROC against normals is s A + (1 - s) / 2, with A what a member
    tells ill from normal by. So A is known up to the AUROC's error over s (DeLong), and is drawn towards what all
    members have in common by as much as that error is large beside `SPREAD`: with few people, or few ill, nothing
    changes. The share is a lower bound, so A is rather too far from a half: no factor is beyond e or 1 / e.

    Args:
        normals: z of the members (n, members) for held-out normals.
        to_come: the same for images to come, (m, members).
        weights: of the members; those of 0 stay 0 and are not asked.
        whose: the person of each image, of normals and of images to come; None where each is another's.
    """
    asked = np.flatnonzero(weights > 0)
    joined = [z[:, asked] @ weights[asked] for z in (normals, to_come)]
    ill, enough = share_ill(*joined), min(map(len, joined)) >= TO_TELL
    people = [np.arange(len(z)) if who is None else who for z, who in zip((normals, to_come), whose, strict=True)]
    fewest = min(len(np.unique(each)) for each in people)
    if fewest < FEWEST:
        return Leaning(ill, np.full(len(weights), np.nan), np.ones(len(weights)), enough)
    outcome = np.repeat([0, 1], [len(normals), len(to_come)])
    subject = np.concatenate([np.char.add(letter, each.astype(str)) for letter, each in zip("nt", people, strict=True)])
    told, error = np.full(len(weights), np.nan), np.full(len(weights), np.inf)
    for k in asked:
        areas, covariance = auroc_covariance(outcome, [np.concatenate([normals[:, k], to_come[:, k]])], subject)
        told[k], error[k] = areas[0], max(covariance[0, 0] ** 0.5, 0.5 / fewest)
    s = max(ill, LEAST_ILL)
    guess, trust = np.clip(0.5 + (told - 0.5) / s, 0, 1), 1 / (SPREAD**2 + (error / s) ** 2)
    common = np.average(guess[asked], weights=trust[asked])
    factors = np.ones(len(weights))
    drawn = STEEPNESS * SPREAD**2 * trust[asked] * (guess[asked] - common)
    factors[asked] = np.exp(np.clip(drawn, -MOST, MOST))
    return Leaning(ill, told, factors, enough)


def share_ill(normals: np.ndarray, to_come: np.ndarray) -> float:
    """The share of images to come that is not normal, at least, by their p-values (Storey 2002, eq. 6, lambda 1/2).

    Of normals half have a p-value above a half; what is lacking there is ill.
    """
    higher = len(normals) - np.searchsorted(np.sort(normals), to_come, side="left")
    p_values = (1 + higher) / (1 + len(normals))
    return float(np.clip(1 - 2 * np.mean(p_values > 0.5), 0, 1))
