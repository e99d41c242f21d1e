"""Read the images users have (NIfTI, DICOM, PNG, JPEG, TIFF, NumPy), find and prepare them, and write maps back.

Knows no torch. Its names are opened when first used (`__init__.pyi` tells their types): settings are checked before the
libraries that read images are loaded.

Floor 2: may import what lies below. Imports the ground floor alone; imported by checkup, cohorts, commandline,
evaluation, explain.association, explain.checking, explain.evaluating, explain.painting, explain.pictures, explain.runs,
explain.sides, exporting, generation, longitudinal, pictures, progression, registrars, registration, restoration,
restorers, runs, scoring, segmentation, simulation, synthesis and translation.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"finding": ["find"], "image": ["Image"], "nifti": ["write_volume"], "reading": ["read"]}
)
