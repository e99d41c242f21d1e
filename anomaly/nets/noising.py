"""How noise is added to images and taken away step by step, deterministically, and guided on the way.

Times are 0 to 999: at time t a share abar_t of an image's variance is left, x_t = sqrt(abar_t) x + sqrt(1 - abar_t) eps
(Ho et al. 2020, eq. 4). 2D and 3D.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from anomaly.errors import AnomalyError

TIMES = 1000
CLEAN = -1
"""Stands for the time before the first, when there is no noise."""
SCHEDULES = {"linear": "linear_beta", "scaled-linear": "scaled_linear_beta", "cosine": "cosine"}

Predict = Callable[[Tensor, Tensor], Tensor]
"""(x_t (N, C, *space), t (N,) int64) -> the noise in it, (N, C, *space)."""
Guide = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(x_t, t, noise predicted) -> noise predicted of an image that is more like what is wanted."""


class Noising:
    """The half of a diffusion model that learns nothing: how noise is added, and how it is taken away step by step.

    Args:
        schedule: "linear" (Ho et al. 2020), "scaled-linear" (Rombach et al. 2022) or "cosine" (Nichol and Dhariwal
            2021), which keeps more of an image for longer.

    Raises:
        AnomalyError: the schedule is unknown.
    """

    def __init__(self, schedule: str = "linear") -> None:
        if schedule not in SCHEDULES:
            raise AnomalyError(f"schedule={schedule} is unknown; take one of {', '.join(SCHEDULES)}")
        from monai.networks.schedulers import DDPMScheduler

        self.kept: Tensor = (1 - DDPMScheduler(TIMES, SCHEDULES[schedule]).betas.double()).cumprod(0)

    def weights(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """sqrt(abar_t) and sqrt(1 - abar_t) for times t (N,), each (N, 1, ...) as images `like` have axes."""
        # Rounded before they are moved, for not every accelerator has double precision.
        signal, rest = (each.sqrt().to(like.dtype).to(t.device)[t] for each in (self.kept, 1 - self.kept))
        shape = (-1, *[1] * (like.ndim - 1))
        return signal.view(shape), rest.view(shape)

    def noisy(self, x: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x_t of images (N, C, *space) at times t (N,), Ho et al. 2020, eq. 4."""
        signal, rest = self.weights(t, x)
        return signal * x + rest * noise

    def loss(self, predict: Predict, x: Tensor) -> Tensor:
        """Mean squared error of the noise predicted, at times drawn alike from all (Ho et al. 2020, eq. 14)."""
        x_t, t, noise = self.drawn(x)
        return F.mse_loss(predict(x_t, t).float(), noise)

    def drawn(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images with noise at random times: x_t, t (N,), and the noise."""
        t, noise = torch.randint(TIMES, (len(x),), device=x.device), torch.randn_like(x)
        return self.noisy(x, t, noise), t, noise

    # The library's scheduler spaces times by rounding a line but steps by 1000 // steps, so that a step ends elsewhere
    # than the next begins (with 600 steps, 1 time on instead of 1.7), and takes a clean image for one of time 0.

    def encode(self, x: Tensor, predict: Predict, *, ratio: float, steps: int, corrections: int = 0) -> Tensor:
        """Images (N, C, *space) with so much noise that `decode` draws them again (Song et al. 2021, DDIM, reversed).

        Each step takes the noise predicted where it begins, `decode` that where it ends. They agree only in the limit
        of many steps, and what few steps lose is what is unusual in an image: the more so, the further out it lies.

        Args:
            predict: the noise in x_t.
            ratio: how far, as a share of all times, above 0 to 1.
            steps: in which it is gone.
            corrections: how often each step is repeated with the noise predicted where it led, which converges to the
                step that `decode` takes back (Pan et al. 2023, AIDI); each costs as much as a step.
        """
        for before, after in pairwise(times(ratio, steps)):
            begun, t = x, _full(x, max(before, 0))
            for _ in range(1 + corrections):
                x, t = self._moved(begun, predict(x, t), before, after), _full(x, after)
        return x

    def decode(
        self, x: Tensor, predict: Predict, *, ratio: float, steps: int, guide: Guide | None = None, clamp: float = 0.0
    ) -> Tensor:
        """Images (N, C, *space) without noise from x_t at the end of `ratio`, deterministic (Song et al. 2021, eq. 12).

        Args:
            predict: the noise in x_t.
            ratio: where x_t is, as a share of all times.
            steps: in which it is gone.
            guide: changes the noise predicted.
            clamp: the quantile of `thresholded`, to which the image predicted in each step is clamped; 0 for none.
        """
        for after, before in pairwise(reversed(times(ratio, steps))):
            t = _full(x, after)
            noise = predict(x, t) if guide is None else guide(x, t, predict(x, t))
            if clamp:
                signal, rest = self.weights(t, x)
                noise = (x - signal * thresholded((x - rest * noise) / signal, clamp)) / rest
            x = self._moved(x, noise, after, before)
        return x

    def _moved(self, x: Tensor, noise: Tensor, here: int, there: int) -> Tensor:
        kept, then = (1.0 if t == CLEAN else self.kept[t].item() for t in (here, there))
        image = (x - math.sqrt(1 - kept) * noise) / math.sqrt(kept)
        return math.sqrt(then) * image + math.sqrt(1 - then) * noise

    def by_classifier(self, log_p: Predict, scale: float) -> Guide:
        """Guidance: eps - scale sqrt(1 - abar_t) grad log p(y | x_t) (Dhariwal and Nichol 2021, algorithm 2).

        Args:
            log_p: log p(y | x_t), (x_t, t) -> (N,), of a classifier that knows noisy images and judges each by itself.
            scale: 1 draws from p(x | y), more exaggerates it.
        """

        def guide(x: Tensor, t: Tensor, noise: Tensor) -> Tensor:
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                (slope,) = torch.autograd.grad(log_p(x, t).sum(), x)
            return noise - scale * self.weights(t, x)[1] * slope

        return guide


def without_classifier(predict: Predict, scale: float) -> Guide:
    """Guidance by the network itself: eps + scale (eps_y - eps) (Ho and Salimans 2022, eq. 6, whose w is scale - 1).

    Args:
        predict: eps_y, the noise in x_t of class y.
        scale: 0 ignores the class, 1 draws from p(x | y), more exaggerates it.
    """
    return lambda x, t, noise: noise + scale * (predict(x, t) - noise)


def thresholded(x: Tensor, quantile: float) -> Tensor:
    """Images clamped to the quantile of their absolute values and divided by it where it exceeds 1, so in [-1, 1].

    Dynamic thresholding (Saharia et al. 2022, section 2.3), for each image by itself.
    """
    sizes = x.abs().flatten(1)
    rank = max(1, math.ceil(quantile * sizes.shape[1]))  # `quantile` takes no more than 16 million values
    limit = sizes.kthvalue(rank, 1).values.clamp_min(1).view(-1, *[1] * (x.ndim - 1))
    return x.clamp(-limit, limit) / limit


def times(ratio: float, steps: int) -> list[int]:
    """`CLEAN`, then times evenly spaced up to the last of a share `ratio` of all, in at most so many steps."""
    last = max(1, round(ratio * TIMES))
    steps = min(steps, last)
    return [round(k * last / steps) - 1 for k in range(steps + 1)]


def _full(x: Tensor, t: int) -> Tensor:
    return torch.full((len(x),), t, device=x.device)
