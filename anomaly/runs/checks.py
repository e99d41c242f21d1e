"""What is behind the checksums of a run: whether `run.json` says all that is asked of it, and the files say the same.

A checksum tells that a file is as it was written, not that what was written is a run: anyone can make one that fits.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open

from anomaly.errors import RunError
from anomaly.images.preprocessing import Preprocessing
from anomaly.training.checkpoints import facts_of


def prepared_as(folder: Path, facts: Mapping[str, Any]) -> Preprocessing:
    """How a run's images are prepared.

    Raises:
        RunError: `run.json` tells no such preprocessing, or one that makes images of another shape than it says.
    """
    try:
        found = Preprocessing(**facts["preprocessing"])
        shape = [found.channels + found.context_channels, *(found.shape or facts["shape"][1:])]
        fits = shape == facts["shape"] and len(shape) == 1 + found.dims
    except (TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"{folder / 'run.json'} tells no preprocessing that can be used ({error}); copy the run again, or "
            "train again"
        ) from error
    if not fits:
        raise RunError(
            f"{folder / 'run.json'} tells a preprocessing that does not make images of the shape {facts['shape']} it "
            "was trained on; copy the run again, or train again"
        )
    return found


def agree(weights: Path, facts: Mapping[str, Any]) -> None:
    """Make sure that the file of weights was written for the same settings and shape as `run.json` says.

    It is asked before any network is built, so that settings by which no network can be built cost no memory.

    Raises:
        RunError: it was not, or cannot be read.
    """
    try:
        told = dict(facts_of(weights))
        with safe_open(weights, framework="np") as stream:
            count = len(list(stream.keys()))
    except Exception as error:  # a damaged file makes the library raise what it has
        raise RunError(f"{weights} cannot be read ({error}); copy it again, or train again") from error
    other = [name for name in ("settings", "shape") if told.get(name) != facts[name]]
    if other or not count:
        found = f"has other {' and '.join(other)} than run.json" if other else "holds nothing"
        raise RunError(f"{weights} {found}; copy the run again, or train again")
