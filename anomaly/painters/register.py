"""What draws images from label maps, by name; a new method is one file and one line here."""

from anomaly.painters.pix2pix import Pix2PixLabels
from anomaly.painters.spade import Spade
from anomaly.painters.synthesizer import Synthesizer
from anomaly.painters.ultrasound import Ultrasound

CLASSES = (Spade, Pix2PixLabels, Ultrasound)
SYNTHESIZERS: dict[str, type[Synthesizer]] = {cls.name: cls for cls in CLASSES}
