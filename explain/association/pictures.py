"""Draws a group map: t over the mean of the controls, significant regions outlined, with one colour scale."""

import io

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from nibabel.affines import voxel_sizes
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

from anomaly.images.image import located

END = 6.0
"""The t at which the colour scale ends, the same for every group map."""
_FULL = 4.5  # below it the grey shows through more and more, so that noise stays in the background
_MOST = 3
_PLANES = (("axial", "z", 2, "RL"), ("coronal", "y", 1, "RL"), ("sagittal", "x", 0, "AP"))


def association(
    t: np.ndarray,
    significant: np.ndarray,
    mean: np.ndarray,
    affine: np.ndarray,
    regions: pd.DataFrame,
    title: str,
    under: str = "mean map of the controls",
    ways: tuple[str, str] = ("lower", "higher with the outcome"),
) -> bytes:
    """PNG of t (*space) over `mean` (*space), which is called `under`, `significant` (*space) outlined.

    `ways` say what blue and red mean.

    A picture is shown as stored. Of a volume, slices through the peaks of the first three regions (through the
    largest t where there is none), the patient's right on the left, where `affine` (4, 4) tells it.
    """
    if t.ndim == 2:
        return _picture(t, significant, mean, affine, regions, title, under, ways)
    return _volume(t, significant, mean, affine, regions, title, ways)


def _picture(
    t: np.ndarray,
    significant: np.ndarray,
    mean: np.ndarray,
    affine: np.ndarray,
    regions: pd.DataFrame,
    title: str,
    under: str,
    ways: tuple[str, str],
) -> bytes:
    spacing, end = voxel_sizes(affine)[:2], _end(t)
    height = 4.3 * float(np.clip(t.shape[0] * spacing[0] / (t.shape[1] * spacing[1]), 0.5, 1.6))
    figure = _figure(9.6, height + 0.9, title)
    axes = figure.subplots(1, 2)
    aspect = float(spacing[0] / spacing[1])
    for ax, layer, name in ((axes[0], np.zeros_like(t), under), (axes[1], t, "difference (t)")):
        _slice(ax, layer, significant, mean, aspect, _limits(mean), end)
        ax.set_title(name, fontsize=10)
    for row in regions.head(9).itertuples():
        axes[1].annotate(
            str(row.region), (row.peak_j, row.peak_i), (7, 7), textcoords="offset points",
            fontsize=10, fontweight="bold", color="white", bbox={"boxstyle": "circle,pad=0.15", "fc": "black", "lw": 0},
        )  # fmt: skip
    return _finished(figure, list(axes), end, ways)


def _volume(
    t: np.ndarray,
    significant: np.ndarray,
    mean: np.ndarray,
    affine: np.ndarray,
    regions: pd.DataFrame,
    title: str,
    ways: tuple[str, str],
) -> bytes:
    turn = io_orientation(affine)
    upright = affine @ inv_ornt_aff(turn, t.shape)
    peaks = regions[["peak_i", "peak_j", "peak_k"]].head(_MOST).to_numpy()
    if not len(peaks):
        peaks = np.array([np.unravel_index(int(np.abs(t).argmax()), t.shape)])
    back = np.linalg.inv(inv_ornt_aff(turn, t.shape))
    shown, outlined, grey = (apply_orientation(each, turn) for each in (t, significant.astype(np.uint8), mean))
    sizes, known, limits, end = voxel_sizes(upright), located(affine), _limits(mean), _end(t)
    figure = _figure(9.6, 2.9 * len(peaks) + 1.0, title)
    axes = figure.subplots(len(peaks), 3, squeeze=False)
    for number, (across, peak) in enumerate(zip(axes, peaks, strict=True), start=1):
        index = np.rint(back @ [*peak, 1])[:3].astype(int)
        place = upright @ [*index, 1]
        for ax, (plane, letter, axis, ends) in zip(across, _PLANES, strict=True):
            # The patient's right (front, in sagittal slices) to the left; front or head up.
            layers = [np.take(each, index[axis], axis).T[::-1, ::-1] for each in (shown, outlined, grey)]
            wide, tall = np.delete(sizes, axis)
            _slice(ax, layers[0], layers[1] > 0, layers[2], float(tall / wide), limits, end)
            where = (
                f"{plane}, {letter} = {place[axis]:.0f} mm" if known else f"axis {axis + 1}, slice {index[axis] + 1}"
            )
            ax.set_title(where, fontsize=9)
            if known:
                _mark(ax, ends)
        across[0].set_ylabel("largest t" if regions.empty else f"region {number}", fontsize=10)
    return _finished(figure, axes.ravel().tolist(), end, ways)


def _slice(
    ax: Axes,
    t: np.ndarray,
    significant: np.ndarray,
    mean: np.ndarray,
    aspect: float,
    limits: tuple[float, float],
    end: float,
) -> None:
    """Grey mean, t over it (the fainter, the smaller), a black and white line round what is significant."""
    ax.imshow(mean, cmap="gray", vmin=limits[0], vmax=limits[1], aspect=aspect, interpolation="nearest")
    alpha = 0.9 * np.clip(np.abs(t) / (_FULL * end / END), 0, 1) ** 1.5
    ax.imshow(t, cmap=_COLOURS, vmin=-end, vmax=end, alpha=alpha, aspect=aspect, interpolation="nearest")
    for colour, width in (("black", 3.2), ("white", 1.4)):
        _outline(ax, significant, colour, width)
    ax.set(xticks=[], yticks=[])


def _outline(ax: Axes, significant: np.ndarray, colour: str, width: float) -> None:
    """Lines along the edges of voxels between what is significant and what is not."""
    padded = np.pad(significant, 1)
    rows, columns = np.nonzero(padded[1:] != padded[:-1])
    ends = [np.stack([columns - 1.5, columns - 0.5]), np.stack([rows - 0.5, rows - 0.5])]
    ax.plot(*ends, color=colour, linewidth=width, solid_capstyle="projecting")
    rows, columns = np.nonzero(padded[:, 1:] != padded[:, :-1])
    ends = [np.stack([columns - 0.5, columns - 0.5]), np.stack([rows - 1.5, rows - 0.5])]
    ax.plot(*ends, color=colour, linewidth=width, solid_capstyle="projecting")


def _mark(ax: Axes, ends: str) -> None:
    for letter, x in zip(ends, (0.04, 0.96), strict=True):
        ax.text(x, 0.5, letter, transform=ax.transAxes, color="#78D7FF", ha="center", va="center", fontsize=9)


def _limits(mean: np.ndarray) -> tuple[float, float]:
    """The grey window, widened upwards so that no background is as bright as the outlines."""
    low, high = np.percentile(mean, (0.5, 99.5))
    return float(low), float(high + 0.35 * max(high - low, 1e-12))


def _figure(width: float, height: float, title: str) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=11)
    return figure


def _end(t: np.ndarray) -> float:
    """Where the colours end: at `END`, or at the largest t where many images make all of them large."""
    return max(END, float(np.ceil(np.abs(t).max())))


def _finished(figure: Figure, axes: list[Axes], end: float, ways: tuple[str, str]) -> bytes:
    scale = ScalarMappable(Normalize(-end, end), _COLOURS)
    bar = figure.colorbar(scale, ax=axes, shrink=0.9, pad=0.02)
    bar.set_label(f"t: blue {ways[0]}, red {ways[1]}", fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, facecolor="white")
    return buffer.getvalue()


def _ramp() -> ListedColormap:
    """Blue through white to vermilion: told apart by every kind of colour vision, as dark at either end."""
    steps, ends = np.linspace(-1, 1, 255)[:, None], np.array([[0.0, 0.30, 0.62], [0.75, 0.22, 0.0]])
    strength = np.abs(steps) ** 0.8
    return ListedColormap((1 - strength) + strength * np.where(steps < 0, ends[0], ends[1]), "blue-vermilion")


_COLOURS = _ramp()
