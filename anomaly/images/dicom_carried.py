"""What a DICOM object takes over from all slices that it was made of, in place."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom import Dataset

from anomaly.images.dicom_sources import Frame

SHOWN = ("BurnedInAnnotation", "RecognizableVisualFeatures")


def carry_shown(data: Dataset, frames: Sequence[Frame]) -> None:
    """Say whether a person can be told from the pixels: YES if a slice says so, NO if all say NO.

    Else what was there stays: of parametric maps the standard wants a value, of other objects none.
    """
    for name in SHOWN:
        told = _told(frames, name)
        if "YES" in told:
            setattr(data, name, "YES")
        elif told == {"NO"}:
            setattr(data, name, "NO")


def _told(frames: Sequence[Frame], name: str) -> set[str]:
    return {str(header.get(name) or "").strip().upper() for header in _headers(frames)}


def _headers(frames: Sequence[Frame]) -> list[Dataset]:
    """Each header once: all frames of one file share theirs."""
    return list({id(frame.header): frame.header for frame in frames}.values())
