"""Cohorts whose truth is known, drawn rather than photographed: everything in them says that it is simulated.

May import images, cohorts, pictures, statistics and the corridor; knows no torch, and nothing of training, scoring
and evaluation. Imported by the command line alone. Its names stand in `__init__.pyi` and are opened when first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
