"""Pictures of an evaluation of segmentations: Dice of each image by class, and the worst and best cases."""

from pathlib import Path

import numpy as np
import pandas as pd

from anomaly.errors import UnreadableImage
from anomaly.files import write_whole
from anomaly.images import read
from anomaly.images.labels import Labels, read_labels
from anomaly.images.masking import masked
from anomaly.pictures import heatmaps
from anomaly.restorers.cards import flat
from anomaly.segmentation.cards import legend, most_marked, tinted
from anomaly.segmentation.judging import BOTH, MISSED
from anomaly.segmentation.summing import FOUND

SHOWN = 4


def picture(path: Path, told: pd.DataFrame, means: pd.DataFrame, labels: Labels) -> None:
    """Draw Dice of each image by class, with means and intervals, floors beside; as PNG."""
    import io

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.4 + 1.2 * len(labels.names), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes, rng = figure.subplots(), np.random.default_rng(0)
    dice = means[(means["measure"] == "dice") & ~means["of"].str.contains(" - ")]
    for place, name in enumerate(labels.names):
        drawn = told[f"{name}:state"].isin([BOTH, MISSED])
        each = pd.to_numeric(told.loc[drawn, f"{name}:dice"]).to_numpy(float)
        axes.plot(place + rng.uniform(-0.18, 0.18, len(each)), each, "o", color="#0072B2", alpha=0.35, markersize=3)
        for row in dice[dice["class"] == name].to_dict("records"):
            colour, mark = ("#000000", "D") if row["of"] == FOUND else ("#D55E00", "_")
            axes.plot([place], [row["value"]], mark, color=colour, markersize=5 if mark == "D" else 18)
            if row["of"] == FOUND and np.isfinite(row["low"]):
                axes.plot([place, place], [row["low"], row["high"]], color=colour, linewidth=1.5)
    axes.set_xticks(range(len(labels.names)), labels.names, rotation=30 if len(labels.names) > 4 else 0)
    axes.set_xlim(-0.6, len(labels.names) - 0.4)
    axes.set_ylim(-0.03, 1.03)
    axes.set_ylabel("Dice")
    axes.set_title("images that have the class; black: mean, orange: floors", fontsize=8)
    axes.grid(alpha=0.3, axis="y")
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    write_whole(path, stream.getvalue())


def cases(path: Path, told: pd.DataFrame, pairs: pd.DataFrame, labels: Labels) -> None:
    """Draw the worst and the best images, the truth over them, and what was found; nothing where none has a class."""
    dice = [
        pd.to_numeric(told[f"{name}:dice"], errors="coerce").where(told[f"{name}:state"].isin([BOTH, MISSED]))
        for name in labels.names
    ]
    mean = pd.concat(dice, axis=1).mean(axis=1)
    order = mean.dropna().sort_values(kind="stable").index
    if not len(order):
        return
    half = min(SHOWN, len(order) // 2) or 1
    chosen = list(dict.fromkeys([*order[:half], *order[-half:]]))
    by_path = pairs.set_index("path")
    rows: list[list[np.ndarray]] = [[], [], []]
    captions = []
    for place in chosen:
        row = by_path.loc[told.loc[place, "path"]]
        try:
            panels = _panels(str(row.name), str(row["mask"]), (str(row["labels"]), str(row["found"])), labels)
        except UnreadableImage:  # gone since it was judged
            continue
        for line, panel in zip(rows, panels, strict=True):
            line.append(panel)
        captions.append(f"{told.loc[place, 'id']}: {mean[place]:.2f}")
    if captions:
        sheet = heatmaps.sheet(
            rows, ["image", "drawn", "found"], title="worst first, best last, by mean Dice", captions=captions,
            footer=legend(labels), bar=False, side=128,
        )  # fmt: skip
        heatmaps.write_png(path, sheet)


def _panels(path: str, mask: str, maps: tuple[str, str], labels: Labels) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    image = masked(read(Path(path)), mask)
    inside = True if image.mask is None else image.mask
    places = [np.where(inside, labels.places(read_labels(each, image)), 0) for each in maps]
    at, values = most_marked(places[0]), image.pixels
    values = values if at is None else values[..., at]
    low, high = np.percentile(values, [0.5, 99.5])
    turned = at is not None
    grey = heatmaps.grey(flat(values, turned), (float(low), float(max(high, low + 1e-6))))
    over = [tinted(grey, flat((each if at is None else each[..., at])[None], turned)) for each in places]
    return grey, over[0], over[1]
