"""Where in the image maps go with an outcome, corrected for all voxels, and whether that predicts others.

May import anomaly's cohorts, images, pictures and statistics; knows no torch. Imported by evaluating (for its maps)
and the command line.
"""

from explain.association.associating import associate
from explain.association.findings import Association

__all__ = ["Association", "associate"]
