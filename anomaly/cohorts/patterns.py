"""Patterns that tell whose an image is from its path, checked without reading any table."""

from __future__ import annotations

import re

from anomaly.errors import CohortError


def pattern_of(text: str) -> re.Pattern[str]:
    """The regular expression of a subject's name, its first group.

    Raises:
        CohortError: it is none, or has no group.
    """
    try:
        compiled = re.compile(text)
    except re.error as error:
        raise CohortError(f"subject_pattern {text!r} is no regular expression ({error}); correct it") from error
    if not compiled.groups:
        raise CohortError(f"subject_pattern {text!r} has no group; put the subject's part in brackets: (...)")
    return compiled
