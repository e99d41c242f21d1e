"""What a setting may be: said once for all that has settings, and checked when an object is made."""

from collections.abc import Iterable, Mapping
from typing import ClassVar

from anomaly.errors import AnomalyError


class Limited:
    """A dataclass that says by name what its fields may be; the names of its bases are to be repeated."""

    positive: ClassVar[tuple[str, ...]] = ()
    not_negative: ClassVar[tuple[str, ...]] = ()
    below_one: ClassVar[tuple[str, ...]] = ()
    at_most_one: ClassVar[tuple[str, ...]] = ()
    choices: ClassVar[Mapping[str, Iterable[str]]] = {}  # what a setting may be, by its name

    def __post_init__(self) -> None:
        for setting in self.positive:
            left = setting in getattr(self, "amounts", {}) and getattr(self, setting) == 0
            if not (left or getattr(self, setting) > 0):
                raise AnomalyError(f"{setting} must be positive, got {getattr(self, setting)}")
        for setting in self.not_negative:
            if not getattr(self, setting) >= 0:
                raise AnomalyError(f"{setting} must be 0 or more, got {getattr(self, setting)}")
        for setting in self.below_one:
            if not getattr(self, setting) < 1:
                raise AnomalyError(f"{setting} must be below 1, got {getattr(self, setting)}")
        for setting in self.at_most_one:
            if not getattr(self, setting) <= 1:
                raise AnomalyError(f"{setting} must be 1 or less, got {getattr(self, setting)}")
        for setting, known in self.choices.items():
            if getattr(self, setting) not in known:
                raise AnomalyError(f"{setting}={getattr(self, setting)} is unknown; take one of {', '.join(known)}")
