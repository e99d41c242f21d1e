"""Read the images users have (NIfTI, DICOM, PNG, JPEG, TIFF, NumPy), find and prepare them, and write maps back.

May import the corridor alone; knows no torch. Imported by every room that touches an image, and by nobody who only
does mathematics. Its names stand in `__init__.pyi` and are opened when first used: settings are checked before the
libraries that read images are loaded.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
