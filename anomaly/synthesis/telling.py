"""The figures of a synthesis in plain words: what was found, beside its floors, and what follows."""

from collections.abc import Mapping, Sequence

import numpy as np

from anomaly.synthesis.judging import SEEN
from anomaly.translation.figures import Figure, named

DRAWN, AGAIN, REAL = "drawn", "drawn again", "real"
MEANS, NEAREST, ON_DRAWN = "class means", "nearest training image", "real, learned from drawn"
CLASS = "dice_"
PAINTED = ", {} where classes are painted with their means, and {} in the training image whose map agrees most"
ENOUGH = 0.9
"""Of the Dice on real images, what that on drawn ones has to reach."""


def sentences(figures: Sequence[Figure]) -> list[str]:
    """One for each question that figures answer."""
    told = [_found(figures), _learned(figures), _near(figures), _between(figures), _likeness(figures), _copies(figures)]
    return [each for each in [*told, _conclusion(figures)] if each]


def _found(figures: Sequence[Figure]) -> str:
    found = named(figures, "dice")
    if DRAWN not in found:
        return ""
    return (
        f"Anatomy: a segmenter that learned from real images finds what the label map says with a Dice of "
        f"{found[DRAWN]} in drawn images, {found[REAL]} in real ones of the same people"
        f"{_floors(found, PAINTED)}."
    )


def _floors(found: Mapping[str, Figure], text: str) -> str:
    """What is said of both floors, where they are there."""
    return text.format(found[MEANS], found[NEAREST]) if MEANS in found else ""


def _learned(figures: Sequence[Figure]) -> str:
    found = named(figures, "dice")
    if ON_DRAWN not in found:
        return ""
    return (
        f"Use: the same segmenter, learned from drawn images alone, has a Dice of {found[ON_DRAWN]} in real ones; "
        f"learned from the real images of the same maps {found[REAL]}."
    )


def _near(figures: Sequence[Figure]) -> str:
    near, alike = named(figures, "l1"), named(figures, "ssim")
    return (
        f"Distance: drawn images are {near[DRAWN]} from the real image of the same map (mean difference, of a range of "
        f"2{_floors(near, '; class means {}, nearest training image {}')}), SSIM {alike[DRAWN]}"
        f"{_floors(alike, ' ({} and {})')}. What is smooth is near for having no grain."
    )


def _between(figures: Sequence[Figure]) -> str:
    return f"Variety: two draws of a map differ by {named(figures, 'between_draws')[DRAWN]}."


def _likeness(figures: Sequence[Figure]) -> str:
    frechet, kid = named(figures, "frechet"), named(figures, "kid")
    if DRAWN not in frechet:
        return ""
    means = f", class means {frechet[MEANS].value:.4g} and {kid[MEANS].value:.4g}" if MEANS in frechet else ""
    return (
        f"Likeness: Frechet distance {frechet[DRAWN].value:.4g} to real images, KID {kid[DRAWN].value:.4g}; real ones "
        f"to other real ones {frechet[REAL].value:.4g} and {kid[REAL].value:.4g}{means}."
    )


def _copies(figures: Sequence[Figure]) -> str:
    found = named(figures, "copies")
    if DRAWN not in found:
        return ""
    return (
        f"Copies: {found[DRAWN].value:.0%} of the drawn images are nearer to a training image, in relation to a real "
        f"one of other people, than 95 % of real ones are (real ones: {found[REAL].value:.0%})."
    )


def _conclusion(figures: Sequence[Figure]) -> str:
    share = named(figures, "share_of_real").get(DRAWN)
    if share is None:
        return "Whether drawn images show what their label maps say was not asked, or of too few people."
    if not np.isfinite(share.value):
        return (
            "Whether drawn images show what their label maps say cannot be told: the segmenter hardly finds any class "
            "in real images; give a better one by --segmenter."
        )
    between = f" ({share.low:.0%} to {share.high:.0%})" if np.isfinite(share.low) else ""
    start = f"What the label map says is found in drawn images {share.value:.0%}{between} as well as in real ones"
    beside = f"{_beyond_means(figures)}{_unseen(figures)}"
    if not between:
        return f"{start}, of one person: too few to say more.{beside}"
    if share.low >= ENOUGH:
        return f"{start}: they show it. Whether they look real is for you to see in sheet.png.{beside}"
    if share.high < ENOUGH:
        return f"{start}: below {ENOUGH:.0%}, they do not show it well enough. Train longer, or on more images.{beside}"
    return f"{start}: whether that is {ENOUGH:.0%} or more cannot be told of {share.subjects} people.{beside}"


def _beyond_means(figures: Sequence[Figure]) -> str:
    """Whether that takes more than classes painted with their means."""
    gain = named(figures, "beyond_means").get(DRAWN)
    if gain is None or not np.isfinite(gain.low):
        return ""
    told = "above" if gain.low > 0 else "below" if gain.high < 0 else "not surely above or below"
    between = f"{gain.value:+.3f}, {gain.low:+.3f} to {gain.high:+.3f}"
    return f" Its Dice is {told} that of class means painted into the map ({between})."


def _unseen(figures: Sequence[Figure]) -> str:
    """Which classes this says nothing of: in real images they are not found either, or nobody has them."""
    real = [each for each in figures if each.of == REAL and each.measure.startswith(CLASS)]
    names = [each.measure.removeprefix(CLASS) for each in real if not each.value >= SEEN]
    if not names:
        return ""
    return (
        f" It says nothing of {', '.join(names)}: in real images the segmenter hardly finds them, or nobody has them; "
        "give a better one by --segmenter."
    )
