"""A run's judgement of prepared images in a form that can be written down: without ways that depend on the image."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from anomaly.detectors.densities import Memory
from anomaly.exporting.graph import Refused
from anomaly.nets.onnx_network import Network
from anomaly.runs.run import Run


class Everywhere(nn.Module):
    """A memory that is asked of all cells, and not of those alone that count, whose number differs from image to image.

    Args:
        memory: of the cells of normals.
    """

    def __init__(self, memory: Memory) -> None:
        super().__init__()
        self.memory = memory

    def forward(self, features: Tensor, counted: Tensor | None = None) -> Tensor:
        """Distances (N, 1, *cells); 0 of cells that do not count. What neighbours say is as within masks."""
        if counted is None:
            return self.memory(features)
        found = self.memory.everywhere(features, counted)
        return torch.where(counted, found, torch.zeros_like(found))


def judgement(run: Run) -> Callable[[Tensor], Mapping[str, Tensor]]:
    """What a run says of prepared images (N, C, *space), by name: "value" (N,), "map" and "map_z" (N, 1, *space).

    The run's memories are exchanged for such as can be written down; its numbers stay as they are.

    Raises:
        Refused: it looks through a network that is an ONNX file itself.
    """
    detector, told = run.detector, run.calibration
    if any(isinstance(each, Network) for each in detector.net_.modules()):
        raise Refused("it looks through an ONNX network of its own (network=onnx), which only onnxruntime runs")
    for module in list(detector.net_.modules()):
        for name, child in module.named_children():
            if isinstance(child, Memory) and not isinstance(module, Everywhere):
                module.add_module(name, Everywhere(child))
    mean, sd = torch.from_numpy(told.map_mean), torch.from_numpy(told.map_sd)

    def judge(x: Tensor) -> Mapping[str, Tensor]:
        score, inside = detector.judge(x), detector.within(x)
        kept = score.map if inside is None else score.map * inside
        z = (kept - mean) / sd
        return {"value": score.value, "map": kept, "map_z": z if inside is None else z * inside}

    return judge
