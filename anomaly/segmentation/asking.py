"""What a training of a segmenter was asked for, checked before anything heavy is imported."""

from collections.abc import Sequence

from anomaly.errors import AnomalyError


def refuse_sides(method: str, learns: bool, unlabelled: bool, able: Sequence[str]) -> None:
    """Say plainly when images without label maps are missing, or given to a method that makes nothing of them.

    Args:
        method: its name.
        learns: whether it learns from such images.
        unlabelled: whether there are such images.
        able: the methods that learn from them.

    Raises:
        AnomalyError: so.
    """
    if learns and not unlabelled:
        raise AnomalyError(
            f"{method} learns from images without label maps as well; give --unlabelled, or take --method supervised"
        )
    if unlabelled and not learns:
        raise AnomalyError(
            f"{method} makes nothing of images without label maps; leave --unlabelled out"
            + (f", or take one of {', '.join(able)}" if able else "")
        )
