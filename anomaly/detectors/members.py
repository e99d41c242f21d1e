"""Who may take part in a committee, and who of them fits into a budget of minutes."""

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from math import log2, prod
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from anomaly.detectors.autoencoder import Autoencoder
from anomaly.detectors.base import Detector
from anomaly.detectors.dae import DAE
from anomaly.detectors.features import Features
from anomaly.detectors.gradients import Gradients
from anomaly.detectors.nearby import Nearby
from anomaly.detectors.restoration import Restoration
from anomaly.detectors.texture import Texture
from anomaly.nets.pretrained import packaged

logger = logging.getLogger("anomaly.detectors.auto")
STEPS, FEWEST_STEPS = 1000, 125
REFERENCE = 0.02  # seconds that the convolution of `pace` takes on one core of the reference


class Member(NamedTuple):
    """One member of the committee.

    make: gives it, untrained. part: which of its values counts. seconds: that learning takes for an image of 64 x 64
    pixels on one core of the reference pace (of one that is trained by steps: a step). why: what it is there for.
    """

    make: Callable[[], Detector]
    part: str
    seconds: float
    why: str


INPAINTING = partial(Restoration, degradation="mask")
MEMBERS: dict[str, Member] = {
    "late": Member(lambda: Features(block=11), "mean", 0.012, "parts of anatomy, wherever they lie"),
    "late_place": Member(lambda: Features(block=11, density="place"), "mean", 0.003, "the same, where they should lie"),
    "early": Member(lambda: Features(block=5), "mean", 0.009, "structure, wherever it lies"),
    "early_place": Member(lambda: Features(block=5, density="place"), "mean", 0.003, "the same, where it should lie"),
    "texture": Member(Texture, "mean", 0.003, "fine patterns where they should lie"),
    "gradients": Member(Gradients, "mean", 0.003, "edges, brightness and contrast, wherever they lie"),
    "nearby": Member(Nearby, "top", 0.0005, "brightness that no normal shows near the same place"),
    "autoencoder": Member(Autoencoder, "l1", 0.085, "the image as a whole, drawn again"),
    "dae": Member(DAE, "combined", 0.21, "what looks like coarse noise in it"),
    "restoration": Member(INPAINTING, "combined", 0.21, "parts drawn from what surrounds them"),
}
TRAINED = ("autoencoder", "dae", "restoration")
"""Members that are trained by steps; a committee has one of them, since a run keeps one training."""
LENDERS = {"late_place": "late", "early_place": "early"}
"""Members whose features are those of another, which lends them."""
TOO_WIDE = "late_place"  # in volumes: three planes of 192 channels at each of 512 cells take gigabytes and a minute
WITH_NETWORK = ("late", "late_place", "early", "early_place", "texture")
WITHOUT = ("texture", "gradients", "autoencoder")
FINE = "nearby"  # of volumes alone, whose other cells are too coarse for a finding of a few pixels


class Budget(NamedTuple):
    """Who takes part, and what it takes: `steps` of an autoencoder, `seconds` in all; `network`: weights are there."""

    members: list[str]
    steps: int
    seconds: float
    network: bool


def affordable(minutes: float, count: int, space: Sequence[int], *, pace: float, steps: int) -> Budget:
    """The members whose learning fits into so many minutes, in the order of their use; the first always does.

    Args:
        minutes: of the budget.
        count: normals.
        space: pixels of each axis.
        pace: see `pace`.
        steps: of an autoencoder, asked for; 0 takes it only where there are no ImageNet weights.
    """
    left, taken, used = 60 * minutes, list[str](), 0
    network = packaged() is not None
    wanted = list(WITH_NETWORK if network else WITHOUT)
    if len(space) == 3:
        wanted = [FINE, *(name for name in wanted if name != TOO_WIDE)]
    for name in (*wanted, "autoencoder") if steps and "autoencoder" not in wanted else wanted:
        each = cost(name, space) * pace
        whole = each * count
        if name == "autoencoder":
            used = steps or _steps(left, each)
            whole = each * used
            if not used:
                logger.info("auto: no autoencoder, which would take more than is left of %g minutes", minutes)
                continue
        elif whole > left and taken:
            logger.info("auto: no %s, which would take %.1f of the %.1f seconds left", name, whole, max(left, 0.0))
            continue
        left -= whole
        taken.append(name)
    return Budget(taken, used or steps, 60 * minutes - left, network)


def cost(name: str, space: Sequence[int]) -> float:
    """Seconds of a member for one image (of one that is trained by steps: for a step), at the reference pace."""
    return MEMBERS[name].seconds * _size(name, space)


def _size(name: str, space: Sequence[int]) -> float:
    """How many pictures of 64 x 64 pixels one image costs as many as; a network sees all slices equally large."""
    if name in WITH_NETWORK[:4]:
        return 1.0 if len(space) == 2 else float(sum(space))
    return prod(space) / 64**2 * (3 if len(space) == 3 else 1)


def _steps(seconds: float, each: float) -> int:
    """The most steps, halving from the usual number, that fit; 0 where too few would."""
    steps = STEPS
    while steps >= FEWEST_STEPS and steps * each > seconds:
        steps //= 2
    return steps if steps >= FEWEST_STEPS else 0


def pace(device: torch.device) -> float:
    """How long this machine takes beside the reference: a power of two, so that it seldom changes."""
    x, kernel = torch.rand(8, 32, 64, 64, device=device), torch.rand(32, 32, 3, 3, device=device)
    taken = []
    for _ in range(4):
        begun = time.perf_counter()
        float(F.conv2d(x, kernel, padding=1).sum())
        taken.append(time.perf_counter() - begun)
    return float(2.0 ** np.clip(round(log2(min(taken) / REFERENCE)), -4, 3))
