"""Every segmenter, by its name; a new one is one file and one line here."""

from anomaly.segmenters.base import Segmenter
from anomaly.segmenters.supervised import Supervised

SEGMENTERS: dict[str, type[Segmenter]] = {cls.name: cls for cls in (Supervised,)}
