"""Another language set for the process, as viewers and notebooks' windows do: decimal commas, and names of months."""

import locale
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def german(folder: Path) -> Iterator[None]:
    """Set German for all of C; made in a folder where it is not installed, and the test skipped where it cannot be."""
    before = locale.setlocale(locale.LC_ALL)
    with pytest.MonkeyPatch.context() as patch:
        try:
            locale.setlocale(locale.LC_ALL, "de_DE.UTF-8")
        except locale.Error:
            if shutil.which("localedef") is None:
                pytest.skip("no German locale, and no localedef to make one")
            made = subprocess.run(
                ["localedef", "-i", "de_DE", "-f", "UTF-8", str(folder / "de_DE.UTF-8")], capture_output=True
            )
            if made.returncode > 1:  # 1 is a warning
                pytest.skip("no German locale, and localedef cannot make one")
            patch.setenv("LOCPATH", str(folder))
            locale.setlocale(locale.LC_ALL, "de_DE.UTF-8")
        try:
            assert locale.localeconv()["decimal_point"] == ","
            yield
        finally:
            locale.setlocale(locale.LC_ALL, before)
