"""One HTML page of what a folder holds; it opens anywhere, without a network.

May import cohorts, pictures, images, statistics and the corridor; knows no torch. Imported by the demonstration and
the command line.
"""

from anomaly.reporting.page import report

__all__ = ["report"]
