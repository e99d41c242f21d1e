"""One study and one painter for all tests of painting."""

from pathlib import Path

import pytest
from painted import LESIONS, RANGE, TINY, study

from explain.painting.learning import learn_painter


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`p.csv`, the study learned from in `run`, and `q.csv`, another."""
    home = tmp_path_factory.mktemp("home")
    study(home), study(home, name="q", persons=18)
    learn_painter(home / "p.csv", home / "run", LESIONS, settings=TINY, preprocessing=RANGE)
    return home
