"""Tissues laid over one another on a picture, each with the signal it gives."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from anomaly.simulation.scanner import Site

# Signal of each tissue in an intermediate-weighted image with fat suppression, as a share of the range.
_SIGNALS = {
    "skin": 0.42,
    "fat": 0.20,
    "septum": 0.36,
    "muscle": 0.41,
    "marrow": 0.24,
    "cortex": 0.03,
    "cartilage": 0.60,
    "meniscus": 0.05,
    "tendon": 0.05,
    "capsule": 0.10,
    "synovium": 0.42,
    "vessel": 0.62,
    "fluid": 0.95,
    "lesion": 0.72,
}
_FATTY, _WATERY = ("fat", "marrow", "septum"), ("cartilage", "fluid", "synovium", "lesion")
# Which of the tissues have a mask, and how they are numbered in the picture of labels.
LABELS = {"bone": 1, "cartilage": 2, "meniscus": 3, "muscle": 4, "fat": 5}


def signals_of(site: Site) -> dict[str, float]:
    """The signal of every tissue on one scanner, before its gamma."""
    shares = {**dict.fromkeys(_FATTY, site.fat), **dict.fromkeys(_WATERY, site.fluid)}
    return {tissue: signal * shares.get(tissue, 1.0) for tissue, signal in _SIGNALS.items()}


class Canvas:
    """A picture that tissues are laid on, one over the other; knows what lies on top at every pixel."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.signal = np.zeros(shape, dtype=np.float32)
        self.labels = np.zeros(shape, dtype=np.uint8)
        self.shown: dict[str, np.ndarray] = {}

    def lay(self, cover: np.ndarray, signal: np.ndarray | float, *, label: str | None = None) -> None:
        """Lay a tissue over the picture: `cover` is its share of each pixel, `label` a key of `LABELS` or none."""
        self.signal += cover * (np.asarray(signal, dtype=np.float32) - self.signal)
        self.labels[np.broadcast_to(cover > 0.5, self.labels.shape)] = LABELS.get(label or "", 0)
        for name, share in self.shown.items():
            self.shown[name] = share * (1 - cover)

    def watch(self, name: str, cover: np.ndarray) -> None:
        """Follow how much of a lesion laid just now stays visible under what is laid later."""
        self.shown[name] = np.broadcast_to(cover, self.signal.shape)

    def masks(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """The pixels of each tissue named, as bool."""
        return {name: self.labels == LABELS[name] for name in names}
