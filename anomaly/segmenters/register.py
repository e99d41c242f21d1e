"""Every segmenter, by its name; a new one is one file and one line here."""

from anomaly.segmenters.base import Segmenter
from anomaly.segmenters.mean_teacher import MeanTeacher
from anomaly.segmenters.stylised import Stylised
from anomaly.segmenters.supervised import Supervised
from anomaly.segmenters.unimatch import UniMatch

METHODS: tuple[type[Segmenter], ...] = (
    Supervised,
    MeanTeacher,
    UniMatch,
    Stylised,
)
SEGMENTERS: dict[str, type[Segmenter]] = {cls.name: cls for cls in METHODS}
