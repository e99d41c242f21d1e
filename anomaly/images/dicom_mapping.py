"""Real-world values of stored ones (DICOM PS3.3 C.7.6.16.2.11): quantities of parametric maps and their kin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from pydicom import Dataset

from anomaly.errors import UnreadableImage
from anomaly.images.dicom_tags import filled, number, numbers

_ENDS = (
    ("RealWorldValueFirstValueMapped", "RealWorldValueLastValueMapped"),
    ("DoubleFloatRealWorldValueFirstValueMapped", "DoubleFloatRealWorldValueLastValueMapped"),
)
Line = Callable[[float], float]


def as_stored(value: float, kind: np.dtype) -> float:
    """Bring a number that stands for a stored value to the type of the pixels, whose sign its tag may not have."""
    return float(np.array(int(value), dtype=np.int64).astype(kind)) if kind.kind in "iu" else float(value)


def mapped(
    stored: np.ndarray, padding: np.ndarray, items: Sequence[Dataset], path: Path
) -> tuple[np.ndarray, Line | None]:
    """Map one frame's stored values to real-world values, float64; and the line that does it, where one does.

    Items may each map a range of stored values, or stand for another quantity: those with the unit of the first are
    taken. Padding becomes 0. Raises UnreadableImage for values that no item maps and items that tell no mapping.
    """
    items = [item for item in items if _unit(item) == _unit(items[0])]
    done, result = padding.copy(), np.zeros(stored.shape)
    for item in items:
        low, high = _range(item, stored.dtype)
        here = ~done & (stored >= low) & (stored <= high)
        result[here] = _looked_up(item, stored[here], low, path) if _table(item) else _line(item, path)(stored[here])
        done |= here
    if not done.all():
        left = stored[~done]
        raise UnreadableImage(
            f"{path}: {left.size} pixels hold {left.min():g} to {left.max():g}, which its "
            "RealWorldValueMappingSequence does not map; widen the mapping, or declare them as PixelPaddingValue"
        )
    return result, _line(items[0], path) if len(items) == 1 and not _table(items[0]) else None


def _unit(item: Dataset) -> str:
    codes = item.get("MeasurementUnitsCodeSequence")
    return str(codes[0].get("CodeValue")) if codes else ""


def _table(item: Dataset) -> bool:
    return filled(item, "RealWorldValueLUTData")


def _range(item: Dataset, kind: np.dtype) -> tuple[float, float]:
    """Give the first and last stored value that an item maps; without end where it does not say."""
    for first, last in _ENDS:
        low, high = number(item, first), number(item, last)
        if low is not None and high is not None:
            return as_stored(low, kind), as_stored(high, kind)
    return -np.inf, np.inf


def _line(item: Dataset, path: Path) -> Callable:
    slope, shift = number(item, "RealWorldValueSlope"), number(item, "RealWorldValueIntercept")
    if not slope:
        raise UnreadableImage(
            f"{path}: its RealWorldValueMappingSequence has a RealWorldValueSlope of {slope} and no "
            "RealWorldValueLUTData; expected one of them: export it again"
        )
    return lambda values: values * slope + (shift or 0.0)


def _looked_up(item: Dataset, stored: np.ndarray, low: float, path: Path) -> np.ndarray:
    table, high = np.array(numbers(item, "RealWorldValueLUTData")), _range(item, stored.dtype)[1]
    if stored.dtype.kind == "f" or len(table) != high - low + 1:
        raise UnreadableImage(
            f"{path}: its RealWorldValueLUTData has {len(table)} values for stored values {low:g} to {high:g}; "
            "expected one for each whole number: export it again"
        )
    return np.asarray(table[(stored - low).astype(np.int64)])
