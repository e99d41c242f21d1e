"""The figures of a synthesis in plain words: what was found, beside its floors, and what follows."""

from collections.abc import Sequence

import numpy as np

from anomaly.translation.figures import Figure, named

DRAWN, AGAIN, REAL = "drawn", "drawn again", "real"
MEANS, NEAREST, ON_DRAWN = "class means", "nearest training image", "real, learned from drawn"
CLASS, SEEN = "dice_", 0.2
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
        f"{found[DRAWN]} in drawn images, {found[REAL]} in real ones of the same people, {found[MEANS]} where classes "
        f"are painted with their means, and {found[NEAREST]} in the training image whose map agrees most."
    )


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
        f"2; class means {near[MEANS]}, nearest training image {near[NEAREST]}), SSIM {alike[DRAWN]} ({alike[MEANS]} "
        f"and {alike[NEAREST]}). What is smooth is near for having no grain."
    )


def _between(figures: Sequence[Figure]) -> str:
    return f"Variety: two draws of a map differ by {named(figures, 'between_draws')[DRAWN]}."


def _likeness(figures: Sequence[Figure]) -> str:
    frechet, kid = named(figures, "frechet"), named(figures, "kid")
    if DRAWN not in frechet:
        return ""
    return (
        f"Likeness: Frechet distance {frechet[DRAWN].value:.4g} to real images, KID {kid[DRAWN].value:.4g}; real ones "
        f"to other real ones {frechet[REAL].value:.4g} and {kid[REAL].value:.4g}, class means "
        f"{frechet[MEANS].value:.4g} and {kid[MEANS].value:.4g}."
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
    found = named(figures, "dice")
    if DRAWN not in found or not np.isfinite([found[DRAWN].value, found[REAL].value]).all():
        return "Whether drawn images show what their label maps say was not asked, or of too few people."
    unseen = _unseen(figures)
    share = found[DRAWN].value / max(found[REAL].value, 1e-9)
    start = f"What the label map says is found in drawn images {share:.0%} as well as in real ones"
    if share >= ENOUGH:
        return f"{start}: they show it. Whether they look real is for you to see in sheet.png.{unseen}"
    return f"{start}: below {ENOUGH:.0%}, they do not show it well enough. Train longer, or on more images.{unseen}"


def _unseen(figures: Sequence[Figure]) -> str:
    """Which classes this says nothing of: the segmenter does not find them in real images either."""
    real = [each for each in figures if each.of == REAL and each.measure.startswith(CLASS)]
    names = [each.measure.removeprefix(CLASS) for each in real if each.value < SEEN]
    if not names:
        return ""
    return (
        f" It says nothing of {', '.join(names)}: the segmenter hardly finds them in real images; give a better one by "
        "--segmenter."
    )
