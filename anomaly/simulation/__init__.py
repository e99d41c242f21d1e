"""Cohorts whose truth is known, drawn rather than photographed: everything in them says that it is simulated.

Knows no torch, and nothing of training, scoring and evaluation. Its names stand in `__init__.pyi` and are opened when
first used.

Floor 4: may import what lies below. Imports cohorts, images, pictures and statistics; imported by commandline and
commands.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"kinds": ["KINDS", "simulate"]})
