"""Volumes as a reader takes them in."""

import numpy as np

MANY = 1000


def told(value: float, unit: str = "") -> str:
    """A volume in four digits, and from 1000 on whole, in groups of three: 775 548 mm3."""
    number = f"{value:,.0f}".replace(",", " ") if np.isfinite(value) and abs(value) >= MANY else f"{value:.4g}"
    return f"{number} {unit}".rstrip()
