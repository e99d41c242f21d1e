"""What needs no learning to draw an image of a label map: means of its classes, and the image of the nearest map."""

import numpy as np

from anomaly.levels import OUTSIDE
from anomaly.painters.mapped import NOWHERE


def class_means(known: np.ndarray, of_known: np.ndarray, places: np.ndarray, classes: int) -> np.ndarray:
    """Images (n, C, *space) that hold of each class its mean intensity; the mean of all where a class is not known.

    Args:
        known: images (m, C, *space).
        of_known: their places (m, *space).
        places: (n, *space), of what is drawn.
        classes: the background among them.
    """
    channels = np.moveaxis(known, 1, 0)
    inside = of_known != NOWHERE
    overall = channels[:, inside].mean(1) if inside.any() else np.zeros(len(channels))
    table = np.stack([channels[:, of_known == k].mean(1) if (of_known == k).any() else overall for k in range(classes)])
    drawn = table[np.minimum(places, classes - 1)]
    drawn[places == NOWHERE] = OUTSIDE
    return np.moveaxis(drawn, -1, 1).astype(np.float32)


def nearest(known: np.ndarray, of_known: np.ndarray, places: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
    """The image of that known map (m, *space) that agrees with each of (n, *space) in the most pixels.

    Args:
        known: images (m, C, *space).
        of_known: their places.
        places: (n, *space).
        own: (n, m) bool, which known images are of the same person, and not taken while there are others.
    """
    flat, chosen = of_known.reshape(len(of_known), -1), list[int]()
    for k, one in enumerate(places):
        agreeing = (flat == one.reshape(-1)).sum(1)
        if own is not None and not own[k].all():
            agreeing[own[k]] = -1
        chosen.append(int(agreeing.argmax()))
    return np.asarray(known[chosen])
