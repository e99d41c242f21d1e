"""What simulations leave in a folder: arrays, masks, a page of pictures, and the settings that made them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from anomaly.errors import CohortError
from anomaly.files import write_whole
from anomaly.pictures import heatmaps

TRUTH = "truth.json"
PANEL, GAP, TITLE, LABEL = 112, 6, 34, 96


def claim(out: Path, settings: Mapping[str, Any]) -> None:
    """Take a folder for a simulation, so that a later call with the same settings goes on where this one stopped.

    Raises:
        CohortError: it holds a simulation made with other settings.
    """
    wanted = json.loads(json.dumps(dict(settings)))
    path = out / TRUTH
    if not path.exists():
        write_truth(out, settings, {})
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["settings"]
    except (ValueError, KeyError, TypeError) as error:
        raise CohortError(f"{path} tells no settings; remove the folder, or choose another --out") from error
    changed = sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))
    if changed:
        told = ", ".join(f"{name} {found.get(name)}" for name in changed)
        raise CohortError(f"{out} holds a simulation made with {told}; choose another --out, or the same settings")


def write_truth(out: Path, settings: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Write what made a simulation, and what is known of it, as `truth.json`."""
    write_whole(out / TRUTH, json.dumps({"settings": dict(settings), **facts}, indent=1) + "\n")


def write_sheet(path: Path, rows: Mapping[str, Sequence[np.ndarray]], title: str) -> None:
    """Write a page of pictures that says SIMULATED, so that nobody takes one for a patient.

    Args:
        path: of the PNG file.
        rows: a name for each row and its pictures, (rows, columns) each, shown as `heatmaps.grey` shows them.
        title: what stands behind SIMULATED.
    """
    across = max(len(row) for row in rows.values())
    size = (LABEL + across * (PANEL + GAP), TITLE + len(rows) * (PANEL + GAP))
    page = Image.new("L", size, 16)
    draw = ImageDraw.Draw(page)
    draw.text((GAP, GAP), f"SIMULATED: {title}", 255, ImageFont.load_default(18))
    for i, (name, row) in enumerate(rows.items()):
        top = TITLE + i * (PANEL + GAP)
        draw.text((GAP, top + PANEL / 2), name, 220, ImageFont.load_default(13), "lm")
        for j, picture in enumerate(row):
            page.paste(_panel(picture), (LABEL + j * (PANEL + GAP), top))
    heatmaps.write_png(path, page)


def _panel(picture: np.ndarray) -> Image.Image:
    panel = Image.fromarray(heatmaps.grey(picture.astype(np.float32)))
    panel.thumbnail((PANEL, PANEL))
    if max(panel.size) < PANEL:
        factor = PANEL / max(panel.size)
        panel = panel.resize((round(panel.width * factor), round(panel.height * factor)))
    return panel
