from .finding import find as find
from .image import Image as Image
from .nifti import write_volume as write_volume
from .reading import read as read
