"""What learning will take, said before it begins, and refused where memory is far too little."""

from anomaly.detectors import Detector
from anomaly.errors import AnomalyError
from anomaly.training.forecast import free
from anomaly.training.learned import Images
from anomaly.training.machine import Machine

TIGHT, FAR = 0.9, 1.5  # times the free memory: a warning, and a refusal, since what is counted may be too much


def tell(detector: Detector, normals: Images, machine: Machine) -> tuple[str, str]:
    """What learning will take, in words, and a warning where memory is tight, "" where not.

    Raises:
        AnomalyError: more memory than there is.
    """
    forecast, left = detector.foresee(normals, machine), free(machine)
    if left is None or forecast.memory < TIGHT * left:
        return str(forecast), ""
    batch = getattr(detector, "batch", 0)
    fewer = f"a lower --set batch (now {batch}), " if batch > 1 else ""
    way_out = (
        f"{detector.name} would take about {forecast.memory / 2**30:.1f} GB of memory, {left / 2**30:.1f} GB are free; "
        f"give {fewer}a smaller --size, or take another --method"
    )
    if forecast.memory > FAR * left:
        raise AnomalyError(way_out)
    return str(forecast), way_out
