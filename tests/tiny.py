"""Settings so small that every method trains in a moment, and small images with and without a lesion.

A new method adds one line to TINY; the tests over all detectors fail until it does.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from anomaly.detectors import DETECTORS, Detector
from anomaly.nets.losses import gaussian_blur
from anomaly.runs.methods import create
from anomaly.training.machine import Machine

NETWORK: dict[str, Any] = {"latent": 2, "width": 4, "hidden": 16, "steps": 150, "batch": 8, "lr": 3e-3}
RESTORER: dict[str, Any] = {"width": 8, "levels": 1, "steps": 150, "batch": 8, "lr": 3e-3, "value_from": "l2"}
TINY: dict[str, dict[str, Any]] = {
    "auto": {"members": "texture,gradients"},
    "intensity": {},
    "mean-image": {},
    "pca": {"components": 4},
    "texture": {},
    "gradients": {},
    "scattering": {"cells": 8},
    "nearby": {"cells": 16},
    "irregularity": {"sources": 64, "smooth": 0.0},
    "features": {"block": 2, "side": 32},
    "own-features": {"width": 8, "steps": 30, "batch": 8},
    "feature-autoencoder": {
        "blocks": "0,2", "side": 32, "grid": 16, "width": 8, "steps": 100, "batch": 8, "lr": 3e-3,
    },
    "autoencoder": NETWORK,
    "vae": NETWORK,
    "restoration": {**RESTORER, "noise_sigma": 0.1, "coarse": 3},
    "dae": {**RESTORER, "noise_sigma": 0.1, "coarse": 3},
    "diffusion": {
        "width": 4, "levels": 2, "coarse": 4, "draws": 2, "steps": 150, "batch": 8, "lr": 3e-3, "value_from": "l2",
    },
    "fanogan": {
        "latent": 4, "width": 4, "batch": 8, "steps": 40, "lr": 2e-3, "encoder_steps": 150, "encoder_lr": 2e-3,
    },
    "alphagan": {"latent": 4, "width": 4, "hidden": 16, "batch": 8, "steps": 150, "lr": 5e-3},
    "stylegan": {
        "latent": 4, "width": 4, "widest": 8, "batch": 8, "steps": 60, "encoder_width": 4, "encoder_steps": 150,
        "encoder_lr": 3e-3,
    },
}  # fmt: skip
OTHER_SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "pca, mahalanobis": ("pca", {"value_from": "mahalanobis"}),
    "texture, memory": ("texture", {"density": "memory", "pool": "top"}),
    "irregularity, stretched": ("irregularity", {"sources": 32, "smooth": 0.0, "stretch": True}),
    "gradients, place": ("gradients", {"density": "place", "pool": "max"}),
    "autoencoder, plain l1": (
        "autoencoder",
        {"objective": "l1", "value_from": "l1", "map_from": "l1"},
    ),
    "autoencoder, all of AE-U": (
        "autoencoder",
        {"objective": "uncertainty", "value_from": "combined", "map_from": "uncertainty", "smooth": 1.0},
    ),
    "vae, combined": ("vae", {"value_from": "combined", "map_from": "elbo"}),
    "restoration, mask": ("restoration", {"degradation": "mask", "noise_sigma": 0.0, "coarse": 0}),
    "diffusion, simplex, in one step": ("diffusion", {"noise": "simplex", "inference_steps": 1}),
    "vae, gradient": ("vae", {"value_from": "gradient", "map_from": "l1"}),
}
"""Beside the settings of TINY: what takes another way through the code."""

CASES = {**{name: (name, {}) for name in DETECTORS}, **OTHER_SETTINGS}
SHAPES = {"2D": (1, 18, 20), "two channels": (2, 16, 16), "3D": (1, 10, 12, 9)}
"""(C, *space); the sides are not all 4 * 2^k."""

CPU = Machine(device="cpu")


def tiny(name: str, **settings: Any) -> Detector:
    """A detector with tiny settings, not fitted."""
    return create(name, {**TINY[name], **settings})


def normals(n: int, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Images (n, *shape) that share one smooth pattern and vary smoothly around it, in [-0.9, 0.2]."""
    pattern = torch.randn(1, *shape, generator=torch.Generator().manual_seed(99))
    variation = torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))
    dims = len(shape) - 1
    return (gaussian_blur(pattern, 3.0) * 2**dims / 4 + gaussian_blur(variation, 2.0) / 4 - 0.5).clamp(-0.9, 0.2)


def lesion(space: tuple[int, ...]) -> Tensor:
    """Where the planted lesion lies: a box of a third of each side, off the centre; bool (1, 1, *space)."""
    place = torch.zeros(1, 1, *space, dtype=torch.bool)
    place[(..., *(slice(side // 8 + 1, side // 8 + 1 + side // 3) for side in space))] = True
    return place


def with_lesion(x: Tensor) -> Tensor:
    """The images with a bright box in them."""
    return torch.where(lesion(tuple(x.shape[2:])), x + 1.0, x).clamp(-1, 1)


@cache
def fitted(case: str, shape: str) -> Detector:
    """A detector of CASES fitted on normals of SHAPES; shared between tests, so none may change it."""
    name, settings = CASES[case]
    images, held_out = normals(40, SHAPES[shape], seed=1), normals(24, SHAPES[shape], seed=2)
    return tiny(name, **settings).fit(images, held_out, machine=CPU, seed=0)
