"""Where a training or a scoring runs: device, precision and processes, by Lightning Fabric underneath.

Torch is imported when it is first needed, so that what a user asked for is checked before that takes its seconds.
"""

from __future__ import annotations

import atexit
import logging
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, cast

from anomaly.errors import AnomalyError
from anomaly.training.journal import TOLD

if TYPE_CHECKING:
    import torch
    from lightning_fabric import Fabric
    from torch import Tensor, nn
    from torch.optim import Optimizer

PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
SHELLS = ("bash", "interactive")
E = TypeVar("E", bound=BaseException)


@dataclass(kw_only=True)
class Machine:
    """The hardware a game is played on; the same code on a laptop, several GPUs, torchrun or SLURM.

    Args:
        device: "auto", "cpu", "cuda" or "mps".
        precision: "32", "bf16" or "16" (both mixed).
        processes: how many, on this computer; each takes its share of every batch. Under torchrun or srun they are
            as many as those started, and may be left out.
        nodes: how many computers take part.

    Raises:
        AnomalyError: unknown precision, no process, or other numbers than torchrun or srun started.
    """

    device: str = "auto"
    precision: str = "32"
    processes: int = 1
    nodes: int = 1

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise AnomalyError(f"precision {self.precision!r} is unknown; take one of {', '.join(PRECISIONS)}")
        if self.processes < 1:
            raise AnomalyError(f"processes must be 1 or more, got {self.processes}")
        launched = _launched()
        if launched and self.processes * self.nodes == 1:
            self.processes, self.nodes = launched[1:]
        if launched and (self.processes, self.nodes) != launched[1:]:
            raise AnomalyError(
                f"{self.processes} processes on each of {self.nodes} computers were asked for, but {launched[0]} "
                f"started {launched[1]} on each of {launched[2]}; leave --processes and --nodes out"
            )

    @cached_property
    def fabric(self) -> Fabric:
        """The launched Fabric; made when first needed, since importing it takes seconds."""
        from lightning_fabric import Fabric

        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        several = self.processes * self.nodes > 1
        try:
            fabric = Fabric(
                accelerator=self.device,
                devices=self.processes,
                num_nodes=self.nodes,
                strategy="ddp" if several else "auto",
                precision=PRECISIONS[self.precision],  # type: ignore[arg-type]
            )
        except (ValueError, RuntimeError) as error:
            raise AnomalyError(
                f"device {self.device!r} cannot be used here ({str(error).splitlines()[0]}); take --device auto or cpu"
            ) from error
        fabric.launch()
        if several:
            atexit.register(_part)
        return fabric

    @property
    def torch_device(self) -> torch.device:
        """The device this process computes on."""
        return self.fabric.device

    @property
    def share(self) -> tuple[int, int]:
        """(this process, of how many)."""
        return self.fabric.global_rank, self.fabric.world_size

    @property
    def leads(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.processes * self.nodes == 1 or self.fabric.is_global_zero

    def autocast(self) -> AbstractContextManager[Any]:
        """Compute in the chosen precision inside this context."""
        return self.fabric.autocast()

    def backward(self, loss: Tensor, parameters: list[nn.Parameter], beside: Sequence[Tensor] = ()) -> Tensor:
        """Fill the parameters' gradients, averaged over the processes; the loss and what is beside it, as well.

        One flat all-reduce after the backward pass instead of a wrapped module, so a loss may call any network
        in any order. The loss travels with it, so that every process sees one that is not finite.

        Args:
            loss: a scalar.
            parameters: whose gradients are filled.
            beside: further scalars.

        Returns:
            (1 + len(beside),): loss and further scalars.
        """
        import torch

        self.fabric.backward(loss)
        told = torch.stack([value.detach().reshape(()).to(loss.dtype) for value in (loss, *beside)])
        if self.fabric.world_size == 1:
            return told
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([*(gradient.flatten() for gradient in gradients), told.to(gradients[0].dtype)])
        *means, told = self.average(flat).split([*(g.numel() for g in gradients), len(told)])
        for parameter, mean in zip(parameters, means, strict=True):
            parameter.grad = mean.view_as(parameter).clone()
        return told.clone()

    def optimiser(self, optimiser: Optimizer) -> Optimizer:
        """The optimiser, wrapped so that it works in the chosen precision."""
        wrapped: Any = self.fabric.setup_optimizers(optimiser)
        return cast("Optimizer", wrapped)

    def average(self, tensor: Tensor) -> Tensor:
        """The mean over the processes."""
        return cast("Tensor", self.fabric.all_reduce(tensor, reduce_op="mean"))

    def any(self, here: bool) -> bool:
        """Whether it is so in any of the processes, which must all ask."""
        if self.fabric.world_size == 1:
            return here
        import torch

        return bool(self.average(torch.tensor(float(here), device=self.torch_device)) > 0)

    def lead(self, work: Callable[[], object]) -> None:
        """Let the first process do something while the others wait; if it fails, all fail alike."""
        problem: AnomalyError | OSError | None = None
        if self.leads:
            try:
                work()
            except (AnomalyError, OSError) as error:
                problem = error
        if self.fabric.world_size > 1:
            problem = self.fabric.broadcast(problem)
        if problem is not None:
            raise self.alike(problem)

    def alike(self, error: E) -> E:
        """Mark an error that every process is about to raise, so that a person is told of it once."""
        if not self.leads:
            error.add_note(TOLD)
        return error

    def gather(self, tensor: Tensor) -> Tensor:
        """The tensors of all processes, on the CPU, first axis the process."""
        if self.fabric.world_size == 1:
            return tensor.detach()[None].cpu()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*all_gather is deprecated")
            return cast("Tensor", self.fabric.all_gather(tensor.detach())).cpu()

    def align(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the first one's values."""
        if self.fabric.world_size > 1:
            for tensor in tensors:
                tensor.data.copy_(self.gather(tensor)[0])

    def random_state(self) -> dict[str, Tensor]:
        """States of torch's generators in every process, first axis the process."""
        import torch

        states = {"cpu": torch.get_rng_state()}
        if self.torch_device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self.torch_device)
        if self.torch_device.type == "mps":
            states["mps"] = torch.mps.get_rng_state()
        return {name: self.gather(state) for name, state in states.items()}

    def set_random_state(self, states: dict[str, Tensor]) -> None:
        """Put torch's generators back to what `random_state` gave."""
        import torch

        rank = self.fabric.global_rank
        torch.set_rng_state(states["cpu"][rank].cpu().clone())  # a view into the rest makes torch crash
        if "cuda" in states and self.torch_device.type == "cuda":
            torch.cuda.set_rng_state(states["cuda"][rank].cpu().clone(), self.torch_device)
        if "mps" in states and self.torch_device.type == "mps":
            torch.mps.set_rng_state(states["mps"][rank].cpu().clone())

    def precision_state(self) -> dict[str, Any]:
        """State of the gradient scaler, empty but at 16 bit."""
        scaler = getattr(self.fabric._precision, "scaler", None)
        return {} if scaler is None else dict(scaler.state_dict())

    def set_precision_state(self, state: dict[str, Any]) -> None:
        """Put the gradient scaler back."""
        scaler = getattr(self.fabric._precision, "scaler", None)
        if scaler is not None and state:
            scaler.load_state_dict(state)


def begun_first() -> bool:
    """Whether this is the first of the processes that torchrun or srun started, or alone; told by the environment."""
    try:
        launched = _launched()
    except AnomalyError:
        return True
    return launched is None or os.environ.get({"torchrun": "RANK", "srun": "SLURM_PROCID"}[launched[0]], "0") == "0"


def _part() -> None:
    """Close Gloo's connections while Python still runs.

    Its threads may hold tensors of the last exchange; one freed after the interpreter has begun to end aborts a
    process whose work is done. Gloo alone: leaving NCCL may wait for processes that are gone.
    """
    import torch.distributed as group

    if group.is_initialized() and group.get_backend() == "gloo":
        group.destroy_process_group()


def _launched() -> tuple[str, int, int] | None:
    """Who started this process as one of several: the name, how many on each computer, on how many computers."""
    given = os.environ
    if "TORCHELASTIC_RUN_ID" in given:
        name, total, nodes = "torchrun", int(given["WORLD_SIZE"]), int(given["GROUP_WORLD_SIZE"])
        each = int(given["LOCAL_WORLD_SIZE"])
    # The batch script itself is no step; a job of these names is a shell to Fabric, too.
    elif {"SLURM_STEP_ID", "SLURM_NTASKS"} <= given.keys() and given.get("SLURM_JOB_NAME") not in SHELLS:
        name, total, nodes = "srun", int(given["SLURM_NTASKS"]), int(given.get("SLURM_NNODES", 1))
        each = int(given.get("SLURM_NTASKS_PER_NODE", 0))
    else:
        return None
    if total == 1:
        return name, 1, 1
    if each * nodes != total:
        raise AnomalyError(
            f"{name} started {total} processes on {nodes} computers, expected as many on each; "
            "say how many with --nproc-per-node (torchrun) or --ntasks-per-node (srun)"
        )
    return name, each, nodes


@contextmanager
def computing_with(threads: int) -> Iterator[None]:
    """Compute with so many threads of the processor."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def one_core_left() -> Iterator[None]:
    """Compute with one thread less, so that the threads that read and write do not make the others wait."""
    import torch

    with computing_with(max(1, torch.get_num_threads() - 1)):
        yield
