"""Where in the image maps go with an outcome, corrected for all voxels, and whether that predicts others.

Knows no torch.

Floor 4: may import what lies below. Imports anomaly.clusters, anomaly.cohorts, anomaly.images, anomaly.pictures and
anomaly.statistics; imported by commands.
"""

from explain.association.associating import associate
from explain.association.findings import Association

__all__ = ["Association", "associate"]
