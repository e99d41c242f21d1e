"""Several processes: who started them, and that they move, fail and resume as one."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from studies import ROOT, pictures

from anomaly.errors import AnomalyError
from anomaly.training.machine import Machine

TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "GROUP_WORLD_SIZE": "2"}
SRUN = {"SLURM_STEP_ID": "0", "SLURM_NTASKS": "8", "SLURM_NTASKS_PER_NODE": "4", "SLURM_NNODES": "2"}
PREAMBLE = f"""
import sys
sys.path[:0] = [{str(ROOT)!r}, {str(Path(__file__).parent)!r}]
from pathlib import Path
import torch
from torch import nn
from anomaly.training.batches import Batches
from anomaly.training.journal import TOLD, Journal
from anomaly.training.machine import Machine
from anomaly.training.loop import Player, Stage, train, train_stages
from test_training import POINTS, SGD, curve, weights_of

machine = Machine(device="cpu", processes=int(sys.argv[1]))
out = Path(sys.argv[2])
rank = machine.share[0]

def told(error):
    return f"{{type(error).__name__}}: {{error}}", TOLD in getattr(error, "__notes__", [])
"""


def outcomes(tmp_path: Path, code: str, processes: int = 2, launcher: tuple[str, ...] = ()) -> list[Any]:
    """What each process saved of a script that starts with PREAMBLE."""
    script = tmp_path / "script.py"
    script.write_text(PREAMBLE + code)
    command = [sys.executable, *launcher, str(script), "1" if launcher else str(processes), str(tmp_path)]
    ended = subprocess.run(command, timeout=120, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(processes)]


# Who started it


@pytest.mark.parametrize("given", [TORCHRUN, SRUN, {**SRUN, **TORCHRUN, "SLURM_NTASKS": "1"}])
def test_processes_are_as_many_as_were_started(given, monkeypatch):
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    machines = [Machine(), Machine(processes=4, nodes=2)]
    assert [(machine.processes, machine.nodes) for machine in machines] == [(4, 2), (4, 2)]
    with pytest.raises(AnomalyError, match=r"8 processes on each of 1 computers were asked for, but .*run started 4"):
        Machine(processes=8)


@pytest.mark.parametrize("change", [{"SLURM_JOB_NAME": "interactive"}, {"SLURM_STEP_ID": None}, {"SLURM_NTASKS": "1"}])
def test_a_shell_a_batch_script_and_a_single_task_are_one_process(change, monkeypatch):
    for name, value in {**SRUN, **change}.items():
        if value is not None:
            monkeypatch.setenv(name, value)
    machine = Machine()
    assert (machine.processes, machine.nodes, machine.leads) == (1, 1, True)


@pytest.mark.parametrize("given", [{**TORCHRUN, "WORLD_SIZE": "7"}, {**SRUN, "SLURM_NTASKS": "7"}])
def test_unlike_numbers_on_the_computers_are_refused(given, monkeypatch):
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(AnomalyError, match="started 7 processes on 2 computers, expected as many on each"):
        Machine()


def test_one_asked_for_more_than_were_started_is_refused(monkeypatch):
    for name, value in {**SRUN, "SLURM_NTASKS": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(AnomalyError, match="but srun started 1 on each of 1; leave --processes and --nodes out"):
        Machine(processes=2)


SHARE = "torch.save([*machine.share, machine.processes, machine.leads], out / f'{rank}.pt')"


def test_torchrun_makes_one_training_of_its_processes(tmp_path):
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    assert outcomes(tmp_path, SHARE, launcher=launcher) == [[0, 2, 2, True], [1, 2, 2, False]]


def test_srun_makes_one_training_of_its_tasks_and_a_common_error_is_told_once(tmp_path):
    """Slurm tells its tasks by the environment alone, so two processes that are given it are such tasks."""
    with socket.socket() as free:
        free.bind(("", 0))
        port = str(free.getsockname()[1])
    common = {**SRUN, "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "1", "SLURM_NODEID": "0"}
    common |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    normals = pictures(tmp_path / "normals", 8)  # as good as any other thing in the way of a run
    words = ["train", "--device", "cpu", "--normals", normals, "--subject-pattern", "(n[0-9]+)", "--out", tmp_path]
    tasks = [
        subprocess.Popen(
            [sys.executable, str(ROOT / "cli.py"), *map(str, words)], stderr=subprocess.PIPE, text=True,
            env={**os.environ, **common, "SLURM_PROCID": rank, "SLURM_LOCALID": rank, "PYTHONPATH": str(ROOT)},
        )
        for rank in "01"
    ]  # fmt: skip
    errors = [task.communicate(timeout=120)[1] for task in tasks]
    assert [task.returncode for task in tasks] == [1, 1], errors
    assert errors[0].startswith("error: ") and "is not empty and holds no training" in errors[0]
    assert errors[0].count("\n") == 1 and errors[1] == ""


# Move, fail and go on as one


MOVE = """
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 3))
player = Player(name="one", owns=[net], loss=lambda x: (net(x) - x).square().mean(), optimiser=SGD)
journal = Journal(folder=out / "run", log_every=4)
train(net, [player], Batches(POINTS, size=10, share=machine.share), steps=15, machine=machine, journal=journal)
torch.save([weights_of(net), [float(row[3]) for row in curve(out / "run")[1:]]], out / f"{rank}.pt")
"""


def test_two_processes_move_as_one_and_log_the_loss_of_both(tmp_path):
    results = []
    for processes in (1, 2):
        (tmp_path / str(processes)).mkdir()
        results += outcomes(tmp_path / str(processes), MOVE, processes)
    for weights, losses in results[1:]:
        torch.testing.assert_close(weights, results[0][0], rtol=1e-5, atol=1e-6)
        assert losses == pytest.approx(results[0][1], rel=1e-5) and len(losses) == 4


FAIL = """
def caught(work):
    try:
        work()
    except Exception as error:
        return told(error)

net = nn.Linear(3, 1)
calls = []

def loss(x):
    calls.append(1)
    return net(x).mean() / (0.0 if rank == 1 and len(calls) == 8 else 1.0)

player = Player(name="critic", owns=[net], loss=loss)
batches = Batches(POINTS, size=8, share=machine.share)
journal = Journal(folder=out / "run", save_every=3)
full = OSError(28, "No space left on device", "checkpoint")

def refuse():
    raise full

torch.save([
    caught(lambda: train(net, [player], batches, steps=40, machine=machine, journal=journal)),
    len(calls), caught(lambda: machine.lead(refuse)),
], out / f"{rank}.pt")
"""


def test_what_fails_in_one_process_fails_alike_in_all(tmp_path):
    leader, other = outcomes(tmp_path, FAIL)
    (first, muted), calls, disk = leader
    assert first.startswith("TrainingError: the loss of 'critic' became ") and " at step 7 of stage 'train'; " in first
    assert (muted, calls) == (False, 8)
    assert disk == ("OSError: [Errno 28] No space left on device: 'checkpoint'", False)
    assert other == [(first, True), 8, (disk[0], True)]


PART = """
import atexit
import torch.distributed as group

machine.average(torch.ones(3))
before = group.is_initialized()
atexit._run_exitfuncs()  # as Python does first of all when it ends
torch.save([before, group.is_initialized()], out / f"{rank}.pt")
"""


def test_processes_part_before_python_ends(tmp_path):
    """Gloo's threads must not free a tensor later than that: it aborts one process in some hundreds."""
    assert outcomes(tmp_path, PART) == [[True, False], [True, False]]


RESUME = """
def play(folder, save_every, resume=False, die_at=0):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))
    moves, seen = [], []

    def loss(x):
        moves.append(1)
        if len(moves) == die_at:
            raise MemoryError
        y = net(x + 0.1 * torch.randn_like(x))
        return (y + net[1].running_mean.mean() - x).square().mean()  # what differs between processes has a say

    def watch():
        seen.append(net[1].running_mean.clone())
        return (net(POINTS) - POINTS).square().mean()

    stage = Stage(
        name="train", players=[Player(name="one", owns=[net], loss=loss, ema=0.8)], steps=45, watch=watch, look_every=8
    )
    journal = Journal(folder=out / folder, save_every=save_every, log_every=10, resume=resume)
    batches = Batches(POINTS, size=10, share=machine.share)
    try:
        train_stages(net, [stage], batches, machine=machine, journal=journal)
    except MemoryError:
        pass
    return [net.state_dict(), torch.stack(seen), [row[:4] for row in curve(out / folder)]]

whole = play("whole", 1000)
play("cut", 7, die_at=31)
resumed = play("cut", 7, resume=True)
torch.save([whole, resumed], out / f"{rank}.pt")
"""


def test_two_processes_resume_to_the_bit_whatever_the_checkpoints(tmp_path):
    leader, other = outcomes(tmp_path, RESUME)
    for (weights, seen, rows), (resumed, seen_again, rows_again) in (leader, other):
        assert all(torch.equal(value, resumed[name]) for name, value in weights.items())
        # After the last checkpoint it looks at steps 32 and 40, and at the last one, 45.
        assert torch.equal(seen[-len(seen_again) :], seen_again) and len(seen_again) == 3
        assert rows == rows_again and len(rows) == 6
    assert all(torch.equal(value, other[0][0][name]) for name, value in leader[0][0].items())
    assert torch.equal(leader[0][1], other[0][1]), "both look at the same running statistics"
