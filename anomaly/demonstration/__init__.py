"""The whole analysis on real chest X-rays that come with the program: `anomaly demo`.

It is not called `demo`, because `anomaly.demo` is the function.

Floor 6: may import what lies below. Imports evaluation, reporting, runs and scoring; imported by cli.
"""

from anomaly.demonstration.data import unpack_chest_xray
from anomaly.demonstration.demonstrate import demo

__all__ = ["demo", "unpack_chest_xray"]
