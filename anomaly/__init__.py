"""Learn what normal images look like; say of any other how far it departs, where, and what that predicts.

The commands of the program are functions here: `learn` (`anomaly train`), `score`, `evaluate`, `report`,
`generate`, `simulate`, `demo`; `anomaly associate` is `explain.association.associate`.
They are imported when first used, so that importing the package is cheap.
"""

from importlib import import_module
from typing import Any

_PLACES = {
    "learn": "anomaly.learning",
    "score": "anomaly.scoring",
    "evaluate": "anomaly.evaluation",
    "report": "anomaly.reporting",
    "generate": "anomaly.generation",
    "simulate": "anomaly.simulation",
    "demo": "anomaly.demonstration",
    "Run": "anomaly.run",
    "Machine": "anomaly.machine",
    "Preprocessing": "anomaly.preprocessing",
    "DETECTORS": "anomaly.detectors",
    "AnomalyError": "anomaly.errors",
}
__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'anomaly' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_PLACES[name]), name)
