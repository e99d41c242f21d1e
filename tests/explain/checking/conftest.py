"""One cohort, and runs on it, for all tests of checking."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from explained import ADDITIVE, explaining, two_sides

from explain.runs.run import LearnedRun
from explain.sides.sides import Sides


@pytest.fixture(scope="module", autouse=True)
def without_curves() -> Iterator[None]:
    """Pictures of curves take longer than the trainings here; they are tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("explain.runs.written.draw_curves", lambda folder: None)
        yield


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_sides(tmp_path_factory.mktemp("sides"))


@pytest.fixture(scope="session")
def run(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> LearnedRun:
    """One that changes next to nothing after its few steps."""
    return explaining(Sides(cohort=cohort, outcome="sick"), tmp_path_factory.mktemp("run") / "run")


@pytest.fixture(scope="session")
def changing(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> LearnedRun:
    """One whose changes are more than next to nothing."""
    settings = {**ADDITIVE, "steps": 8, "lr": 0.04}
    return explaining(
        Sides(cohort=cohort, outcome="sick"), tmp_path_factory.mktemp("run") / "changing", settings=settings
    )


@pytest.fixture(scope="session")
def classifier(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> LearnedRun:
    return explaining(Sides(cohort=cohort, outcome="sick"), tmp_path_factory.mktemp("run") / "classifier", "classifier")
