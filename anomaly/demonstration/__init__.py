"""The whole analysis on real chest X-rays that come with the program: `anomaly demo`.

May import scoring, evaluation, reporting and all below; imported by the command line alone. It is not called `demo`,
because `anomaly.demo` is the function.
"""

from anomaly.demonstration.data import unpack_chest_xray
from anomaly.demonstration.demonstrate import demo

__all__ = ["demo", "unpack_chest_xray"]
