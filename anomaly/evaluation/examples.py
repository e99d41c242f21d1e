"""Pictures of the images whose maps mark the truth best and worst: image, map, and outline of the truth."""

import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import ndimage

from anomaly.evaluation.floors import MAP
from anomaly.evaluation.looking import Case, Seen, look
from anomaly.evaluation.section import Section
from anomaly.evaluation.truths import Marking
from anomaly.pictures.heatmaps import coloured, sheet
from anomaly.pictures.pages import MARK, View, views, window

SHOWN, SIDE = 3, 256
CAPTIONS = ("image", "departure from normal", "truth")


def examples(images: pd.DataFrame, cases: Sequence[Case], marking: Marking) -> list[Section]:
    """Up to three images with the highest average precision of their own, and three others with the lowest."""
    own = images[(images["map"] == MAP) & images["average_precision"].notna()]
    own = own.sort_values("average_precision", ascending=False, kind="stable")
    best, worst = own[:SHOWN], own[SHOWN:][-SHOWN:][::-1]
    told = {"best": ("truth_best", "Where maps mark the truth best", best)}
    told["worst"] = ("truth_worst", "Where maps mark the truth worst", worst)
    found = []
    for word, (name, title, rows) in told.items():
        if len(rows):
            picture = _drawn(rows, {case.id: case for case in cases}, marking)
            table = rows[["id", "subject", "lesions", "prevalence", "average_precision"]].reset_index(drop=True)
            found.append(Section(name, title, [_sentence(rows, word)], _CAPTION, table, picture))
    return found


_CAPTION = (
    "Image, the map over it in standard deviations of normal variation, and the outline of the truth. Of volumes the "
    "axial slice through what is marked most, as the truth says."
)


def _sentence(rows: pd.DataFrame, word: str) -> str:
    listed = ", ".join(f"{row.id} ({row.average_precision:.2f})" for row in rows.itertuples())
    return f"The {word} by average precision of the image alone: {listed}."


def _drawn(rows: pd.DataFrame, cases: dict[str, Case], marking: Marking) -> bytes:
    panels, labels = [], []
    for row in rows.itertuples():
        panels.append(_row(look(cases[str(row.id)], marking)))
        labels.append(f"{str(row.id)[-18:]}: {row.average_precision:.2f}")
    buffer = io.BytesIO()
    sheet(panels, labels, captions=CAPTIONS, side=SIDE).save(buffer, "PNG")
    return buffer.getvalue()


def _row(seen: Seen) -> list[np.ndarray]:
    """The three panels of one image."""
    truth = seen.labels > 0
    view = views(_busy(truth), seen.affine, smallest=SIDE, largest=SIDE)[0]
    grey = seen.map * 0 if seen.grey is None else seen.grey
    shown = view.grey(grey, window(grey))
    return [shown, coloured(shown, view.smooth(seen.map)), outlined(shown, view, truth)]


def outlined(shown: np.ndarray, view: View, truth: np.ndarray) -> np.ndarray:
    """A grey panel with the border of what is marked (*space), (rows, columns, 3)."""
    inside = view.smooth(truth.astype(np.float32)) >= 0.5
    border = ndimage.binary_dilation(inside, iterations=2) & ~inside
    panel = np.repeat(shown[..., None], 3, axis=2)
    panel[border] = MARK
    return panel


def _busy(truth: np.ndarray) -> np.ndarray:
    """How much is marked in the slices through each marked pixel, float32: highest where a slice shows most."""
    found = truth.astype(np.float32)
    for axis in range(truth.ndim):
        others = tuple(other for other in range(truth.ndim) if other != axis)
        found += truth.sum(others, dtype=np.float32, keepdims=True) * truth / truth.size
    return found
