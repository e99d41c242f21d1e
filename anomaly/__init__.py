"""Learn what normal images look like; say of any other how far it departs, where, and what that predicts.

The commands of the program are functions here: `learn` (`anomaly train`), `score`, `export`, `evaluate`, `report`,
`generate`, `simulate`, `demo`; `anomaly restore train | apply | evaluate` are `learn_restorer`, `restore` and
`evaluate_restorer`, `anomaly segment` likewise `learn_segmentation`, `segment` and `evaluate_segmentation`,
`anomaly translate` `learn_translation`, `translate` and `evaluate_translation`,
`anomaly evaluate --visits` is `evaluate_visits`, `anomaly register visits` is `register_visits` and so on,
`anomaly progress change` is `change_between_visits`, `anomaly associate` is `explain.association.associate`.
They are imported when first used, so that importing the package is cheap.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0.dev0"
_PLACES = {
    "learn": "anomaly.runs.learning",
    "foresee": "anomaly.runs.foreseeing",
    "score": "anomaly.scoring.score",
    "export": "anomaly.exporting.export",
    "evaluate": "anomaly.evaluation",
    "evaluate_visits": "anomaly.longitudinal",
    "report": "anomaly.reporting",
    "generate": "anomaly.generation.generate",
    "simulate": "anomaly.simulation",
    "demo": "anomaly.demonstration.demonstrate",
    "learn_restorer": "anomaly.restorers.learning",
    "foresee_restorer": "anomaly.restorers.foreseeing",
    "restore": "anomaly.restoration.restoring",
    "evaluate_restorer": "anomaly.restoration.evaluating",
    "learn_translation": "anomaly.translation.learning",
    "translate": "anomaly.translation.translating",
    "evaluate_translation": "anomaly.translation.evaluating",
    "change_between_visits": "anomaly.progression.changing",
    "learn_registration": "anomaly.registration.learning",
    "Pairing": "anomaly.registration.pairing",
    "RegistrarRun": "anomaly.registration.run",
    "register_visits": "anomaly.registration.visits",
    "register_sides": "anomaly.registration.visits",
    "register_pair": "anomaly.registration.visits",
    "register_template": "anomaly.registration.template",
    "Annotations": "anomaly.segmentation.annotations",
    "SegmenterRun": "anomaly.segmentation.run",
    "learn_segmentation": "anomaly.segmentation.learning",
    "segment": "anomaly.segmentation.segmenting",
    "evaluate_segmentation": "anomaly.segmentation.evaluating",
    "Heaps": "anomaly.translation.heaps",
    "TranslatorRun": "anomaly.translation.run",
    "Run": "anomaly.runs.run",
    "RestorerRun": "anomaly.restorers.run",
    "Machine": "anomaly.training.machine",
    "Preprocessing": "anomaly.images.preprocessing",
    "DETECTORS": "anomaly.detectors",
    "AnomalyError": "anomaly.errors",
}
__all__ = ["__version__", *sorted(_PLACES)]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'anomaly' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_PLACES[name]), name)
