"""What a person can watch of a training: sheets of what is drawn, and the curves, in the run folder."""

import io
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from anomaly.files import write_whole
from anomaly.pictures import heatmaps
from anomaly.runs.previews import EDGES, flat_pictures
from anomaly.training.games import Glance
from anomaly.training.playing import SEEN

if TYPE_CHECKING:
    from matplotlib.axes import Axes

logger = logging.getLogger(__name__)
SAMPLES, CURVES = "samples", "training.png"
ACROSS = 4
SECONDS_BETWEEN_CURVES = 20.0
TITLES = {
    "seen/distance": "distance, held-out",
    "seen/told_apart": "told apart (0.5: not at all)",
    "seen/diversity": "diversity (1: as real images)",
    "seen/code_spread": "spread of codes (0: all alike)",
}


class Watch:
    """Draws into a run folder what its training shows; the curves, which take longer, now and then.

    Args:
        folder: of the run.
        turned: the images are slices of volumes, to be turned as a volume's are.
        step: of volumes, one slice of so many along the last axis was kept: one that was not is shown.
    """

    def __init__(self, folder: Path, *, turned: bool = False, step: int = 1) -> None:
        self.folder, self.turned, self.step, self._last = folder, turned, step, time.monotonic()

    def __call__(self, stage: str, step: int, seen: Glance) -> None:
        """Draw a sheet, and the curves if they have not been drawn for a while."""
        try:
            draw_glance(self.folder, stage, step, seen, turned=self.turned, kept=self.step)
            if time.monotonic() - self._last > SECONDS_BETWEEN_CURVES:
                draw_curves(self.folder)
                self._last = time.monotonic()
        except OSError:
            raise  # a full disk would stop the checkpoint as well
        except Exception as error:  # a picture is not worth a training
            logger.warning("%s, step %d: nothing could be drawn (%r)", stage, step, error)


def draw_glance(folder: Path, stage: str, step: int, seen: Glance, *, turned: bool = False, kept: int = 1) -> None:
    """Write one sheet, `samples/STAGE_STEP.png`, all images from black at -1 to white at 1; nothing if none are shown.

    Args:
        folder: of the run.
        stage, step: where the training stands.
        seen: rows of images; channels are averaged, of a volume the middle slice of the last axis is shown.
        turned: the images are slices of volumes, to be turned as a volume's are.
        kept: of volumes, one slice of so many along the last axis was kept: one that was not is shown.
    """
    if not seen.pictures:
        return
    (folder / SAMPLES).mkdir(parents=True, exist_ok=True)
    shown = [
        flat_pictures(images.float().cpu().numpy(), turned or images.ndim == 5, kept)
        for images in seen.pictures.values()
    ]
    rows = [[heatmaps.grey(each, EDGES) for each in row] for row in shown]
    warned = " ".join(f"Warning: {text}." for text in seen.warnings.values())
    title, panels = f"stage {stage}, step {step}", heatmaps.filled(rows)
    sheet = heatmaps.sheet(panels, list(seen.pictures), title=title, footer=warned, bar=False)
    heatmaps.write_png(folder / SAMPLES / f"{stage}_{step:06d}.png", sheet)


def draw_curves(folder: Path) -> None:
    """Draw `training.csv` as `training.png`: a panel for each loss, term and figure of each stage; once it has rows."""
    table = pd.read_csv(folder / "training.csv")
    if table.empty:
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    stages = list(table["stage"].unique())
    groups = [(str(stage), str(what), rows) for (stage, what), rows in table.groupby(["stage", "player"], sort=False)]
    panels = sorted(groups, key=lambda panel: (stages.index(panel[0]), panel[1].startswith(f"{SEEN}/")))
    across, down = min(ACROSS, len(panels)), -(-len(panels) // ACROSS)
    figure = Figure(figsize=(3.0 * across, 2.4 * down), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(down, across, squeeze=False).ravel()
    for axes, (stage, what, rows) in zip(grid, panels, strict=False):
        _curve(axes, f"{stage}: {TITLES.get(what, what)}", rows)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    write_whole(folder / CURVES, _png(figure))


def _curve(axes: "Axes", title: str, rows: pd.DataFrame) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.plot(rows["step"], rows["loss"], color="#0072B2", linewidth=1.4, marker="." if len(rows) < 20 else "")
    axes.set_title(title.replace("/", ", ").replace("_", " "), fontsize=9)
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.set_xlabel("step", fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)


def _png(figure: Any) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    return stream.getvalue()
