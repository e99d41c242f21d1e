"""Every operation that this export knows."""

from anomaly.exporting import elementwise, fetching, layout, networks
from anomaly.exporting.recording import Handler

OPERATIONS: dict[str, Handler] = {
    **elementwise.HANDLERS,
    **layout.HANDLERS,
    **networks.HANDLERS,
    **fetching.HANDLERS,
}
