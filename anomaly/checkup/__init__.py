"""What this installation is and can do, and what lies in a folder, for a person to read or to paste: `anomaly doctor`.

Floor 6: may import what lies below. Imports cohorts, images, nets, runs, scoring and training; imported by cli.
"""

from anomaly.checkup.examining import Checkup, checkup

__all__ = ["Checkup", "checkup"]
