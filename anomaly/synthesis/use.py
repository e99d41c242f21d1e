"""What drawn images are worth to a segmenter that learns from real ones, drawn ones, or both."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from anomaly.synthesis import judging
from anomaly.synthesis.holding import Held
from anomaly.translation.figures import Figure, named

logger = logging.getLogger(__name__)
REAL, DRAWN, BOTH = "real images", "drawn images", "both"
GAIN = "both less real images"
SEEDS = (0, 1, 2)


def put_to_use(
    known: Held,
    drawn: Held,
    real: Held,
    names: Sequence[str],
    *,
    settings: Mapping[str, Any] | None = None,
    seeds: Sequence[int] = SEEDS,
    device: str = "auto",
) -> list[Figure]:
    """Dice on images of people that nobody learned from, of three segmenters of one kind, each of as many steps.

    One learns from real images, one from drawn ones, one from both in equal shares; each is trained once a seed, and
    the Dice of an image is the mean over these trainings. What both add to real images is told by subject, in pairs.

    Args:
        known: the real images that the synthesizer learned from, with their label maps.
        drawn: what it drew, with the label maps it was drawn of.
        real: images of other people, with label maps; the test.
        names: of the classes.
        settings: of the segmenter, by name.
        seeds: of its trainings.
        device: where it trains.
    """
    ways = {REAL: known, DRAWN: drawn, BOTH: _evenly(known, drawn)}
    dice: dict[str, np.ndarray] = {}
    by_training: dict[str, list[float]] = {}
    for way, held in ways.items():
        each = []
        for seed in seeds:
            logger.info("a segmenter learns from %s, seed %d", way, seed)
            find = judging.trained_on(held, held.pixels, len(names) + 1, settings or {}, seed=seed, device=device)
            each.append(judging.dice_of(find, real.pixels, real, len(names) + 1))
        dice[way] = np.stack(each).mean(0)
        by_training[way] = [float(np.nanmean(np.nanmean(one, axis=0))) for one in each]
    dice[GAIN] = dice[BOTH] - dice[REAL]
    gains = ", ".join(f"{b - a:+.3f}" for a, b in zip(by_training[REAL], by_training[BOTH], strict=True))
    found = list[Figure]()
    for way, values in dice.items():
        count = len(ways[way].pixels) if way in ways else 0
        note = f"learned from {count} images, mean of {len(seeds)} trainings"
        note = note if count else f"in pairs, by subject; by training {gains}"
        found += judging.figures_of(way, values, names, real.subjects, note)
    return found


def told(figures: Sequence[Figure], *, new: bool = True) -> list[str]:
    """What came of it, whichever way it fell; `new`: no person of the test was learned from.

    The interval counts persons, not trainings: that drawn images help, or do harm, is said only where each of the
    trainings says so too.
    """
    dice = named(figures, "dice")
    gain = dice[GAIN]
    who = "persons that nobody learned from" if new else "persons, of whom some were learned from,"
    first = (
        f"Of {dice[REAL].subjects} {who} a segmenter finds what label maps say with a Dice of {dice[REAL]} if it "
        f"learned from real images, {dice[DRAWN]} from drawn ones alone, {dice[BOTH]} from both."
    )
    gains = gain.note.rpartition("by training ")[2]
    each = [float(one) for one in gains.split(", ")] if gains else []
    if not np.isfinite([gain.low, gain.high]).all():
        return [first, f"Drawn images beside the real ones change it by {gain.value:+.3f}; too few people to say more."]
    between = f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f}; by training {gains})"
    if gain.low > 0 and min(each, default=0) > 0:
        return [first, f"Drawn images beside the real ones helped: {between}."]
    if gain.high < 0 and max(each, default=0) < 0:
        return [first, f"Drawn images beside the real ones did harm: {between}; leave them out."]
    return [first, f"Whether drawn images beside the real ones help cannot be told: {between}."]


def _evenly(one: Held, other: Held) -> Held:
    """Both, the shorter repeated, so that a batch has as many of each on average."""
    most = max(len(one.pixels), len(other.pixels))
    parts = [each.part(np.resize(np.arange(len(each.pixels)), most)) for each in (one, other)]
    pixels, places, ids, subjects = (
        np.concatenate([getattr(each, name) for each in parts]) for name in ("pixels", "places", "ids", "subjects")
    )
    return Held(pixels, places, ids, subjects, [])
