"""Seconds of a training step of our diffusion beside the library's of the same size, and of our loop beside a bare one.

    python -m benchmarks.diffusion_steps [--width 16] [--own-width 24] [--batch 4]

The library's is `DiffusionModelUNet` with `DDPMScheduler` and `DiffusionInferer`, as its tutorials train it, with one
block at each size and no attention but in the middle, where it always has some (which needs the package einops). With
the same channels it has twice as many weights; at `--own-width` 24 ours has as many as the library's at 16. All take
turns, some steps each in every round, so that other work on the machine meets them alike; a figure is the median over
rounds of seconds of the processor.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from monai.inferers import DiffusionInferer
from monai.networks.nets import DiffusionModelUNet
from monai.networks.schedulers import DDPMScheduler
from torch import nn
from torch.nn import functional as F

from anomaly.detectors import Diffusion
from anomaly.training.games import Player, Stage
from anomaly.training.loop import cosine, train_stages
from anomaly.training.machine import Machine


def the_librarys(x: torch.Tensor, width: int) -> tuple[Callable[[int], None], nn.Module]:
    """Steps of the library's network, scheduler and inferer."""
    net = DiffusionModelUNet(
        spatial_dims=2, in_channels=1, out_channels=1, channels=(width, 2 * width, 3 * width), num_res_blocks=1,
        attention_levels=(False, False, False), norm_num_groups=4, num_head_channels=width,
    )  # fmt: skip
    inferer, optimiser = DiffusionInferer(DDPMScheduler(1000)), torch.optim.Adam(net.parameters(), lr=1e-4)

    def play(steps: int) -> None:
        for _ in range(steps):
            optimiser.zero_grad(set_to_none=True)
            noise, t = torch.randn_like(x), torch.randint(1000, (len(x),))
            found = inferer(inputs=x, diffusion_model=net, noise=noise, timesteps=t)
            loss = F.mse_loss(found.float(), noise)
            loss.backward()
            optimiser.step()
            loss.item()

    return play, net


def ours(x: torch.Tensor, width: int) -> Diffusion:
    """Our network with white noise of all times."""
    detector = Diffusion(noise="gaussian", time=1.0, width=width, levels=3, attention=0, batch=len(x), steps=1, lr=1e-4)
    detector.make(x.shape[1:], Machine(device="cpu"), 0)
    detector.net_.train().requires_grad_(True)
    return detector


def bare(detector: Diffusion, x: torch.Tensor) -> Callable[[int], None]:
    """The plainest loop over its loss."""
    net = detector.net_["denoiser"]
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-4)

    def play(steps: int) -> None:
        net.train().requires_grad_(True)
        for _ in range(steps):
            optimiser.zero_grad(set_to_none=True)
            loss = detector.loss(x)
            loss.backward()
            optimiser.step()
            loss.item()

    return play


def looped(detector: Diffusion, x: torch.Tensor) -> Callable[[int], None]:
    """The loop that trains everything, with the average of the weights."""

    class Same:
        def __getitem__(self, k: int) -> torch.Tensor:
            return x

    def play(steps: int) -> None:
        player = Player(
            name="denoiser", owns=[detector.net_["denoiser"]], loss=detector.loss, optimiser=detector.adam,
            schedule=cosine, ema=0.99,
        )  # fmt: skip
        stage = Stage(name="train", players=[player], steps=steps)
        train_stages(detector.net_, [stage], Same(), machine=Machine(device="cpu"))

    return play


def main() -> None:
    """Print seconds a step and the two ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, default in (("size", 64), ("batch", 4), ("width", 16), ("own-width", 24), ("rounds", 5), ("steps", 15)):
        parser.add_argument(f"--{option}", type=int, default=default)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    x = torch.rand(asked.batch, 1, asked.size, asked.size) * 2 - 1
    library, net = the_librarys(x, asked.width)
    detector = ours(x, asked.own_width)
    ways = {"library": library, "bare": bare(detector, x), "loop": looped(ours(x, asked.own_width), x)}
    weights = {"library": net, "ours": detector.net_["denoiser"]}
    print({name: sum(p.numel() for p in each.parameters()) for name, each in weights.items()}, "weights")
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for play in ways.values():
        play(2)
    for _ in range(asked.rounds):
        for name, play in ways.items():
            begun = time.process_time()
            play(asked.steps)
            taken[name].append((time.process_time() - begun) / asked.steps)
    each = {name: median(seconds) for name, seconds in taken.items()}
    print({name: round(seconds, 4) for name, seconds in each.items()}, "seconds a step")
    print(f"ours beside the library's: {each['library'] / each['bare']:.2f} times as fast")
    print(f"our loop beside a bare one: {each['bare'] / each['loop']:.3f} of its speed")


if __name__ == "__main__":
    main()
