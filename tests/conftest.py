"""One thread, no screen, one seed: a test gives the same result alone, in any order, and beside another."""

import os

# Before torch and numpy are imported, for they read these once.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ["MPLBACKEND"] = "Agg"

import numpy as np
import pytest
import torch

torch.set_num_threads(1)
OVER_ALL = ("test_detectors_contract.py", "test_explainers_trained.py", "test_explainers_contract.py")


@pytest.fixture(autouse=True)
def _seed() -> None:
    np.random.seed(0)
    torch.manual_seed(0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What shares a training goes to one worker: the tests of a file, in those over all methods those of one method."""
    for item in items:
        params = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        method = params.get("case", params.get("name", "")) if item.path.name in OVER_ALL else ""
        item.add_marker(pytest.mark.xdist_group(f"{item.path.parent.name}/{item.path.name} {method}"))
