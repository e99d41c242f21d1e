"""Denoising diffusion: a network that finds the noise in an image, and deterministic ways into the noise and back.

Times are 0 to 999: at time t a share abar_t of an image's variance is left, x_t = sqrt(abar_t) x + sqrt(1 - abar_t) eps
(Ho et al. 2020, eq. 4). 2D and 3D.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anomaly.errors import AnomalyError
from anomaly.nets.layers import CONVOLUTION, crop
from anomaly.nets.pyramid import ConvolutionThenHalve, DoubleThenConvolution, initialise
from anomaly.nets.unet import halvings, pad_to

TIMES = 1000
CLEAN = -1
"""Stands for the time before the first, when there is no noise."""
SCHEDULES = {"linear": "linear_beta", "scaled-linear": "scaled_linear_beta", "cosine": "cosine"}
UNTOLD = -1
"""The class of an image whose class the network is not told."""

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


class TimedTrunk(nn.Module):
    """Noisy images and their times -> what is seen of them at each size.

    Residual blocks that are told the time (Ho et al. 2020), (k + 1) `width` channels after k halvings (Sanchez et al.
    2022). The library's own network needs a further package for its attention, and halves thick slices like pixels; so
    its blocks are taken, and each axis is halved by itself.

    Args:
        shape: (C, *space) of one image; sides are padded with their edge as needed.
        width: channels at full size.
        levels: sizes, the full one and each of the halvings; an axis is halved only while 4 pixels of it are left.
        blocks: residual blocks at each size.
        attention: at so many of the smallest sizes each place looks at all others as well.
        classes: how many there are to tell the network, beside `UNTOLD`; 0 for a network that knows none.
    """

    def __init__(
        self, shape: Sequence[int], *, width: int, levels: int, blocks: int = 1, attention: int = 1, classes: int = 0
    ) -> None:
        super().__init__()
        channels, *space = shape
        dims, self.width, told = len(space), width, 4 * width
        self.factors = [each for each in halvings(tuple(space), levels - 1) if max(each) > 1]
        self.multiples = tuple(math.prod(each[axis] for each in self.factors) for axis in range(dims))
        self.widths = [width * (level + 1) for level in range(len(self.factors) + 1)]
        self.attends = [level >= len(self.widths) - attention for level in range(len(self.widths))]
        self.time = nn.Sequential(nn.Linear(width, told), nn.SiLU(), nn.Linear(told, told))
        self.classes = nn.Embedding(classes + 1, told) if classes else None
        self.enter = CONVOLUTION[dims](channels, width, 3, padding=1)
        self.down = nn.ModuleList(
            Blocks(dims, each, each, told, blocks, attends)
            for each, attends in zip(self.widths, self.attends, strict=True)
        )
        self.halve = nn.ModuleList(
            ConvolutionThenHalve(each, a, b) for (a, b), each in zip(pairwise(self.widths), self.factors, strict=True)
        )
        initialise(self.halve)

    def told(self, t: Tensor, classes: Tensor | None = None) -> Tensor:
        """What blocks are told, (N, 4 width), of times t (N,) and classes (N,), some `UNTOLD`; None for all untold."""
        from monai.networks.nets.diffusion_model_unet import get_timestep_embedding

        told: Tensor = self.time(get_timestep_embedding(t, self.width))
        if self.classes is None:
            return told
        classes = torch.full_like(t, UNTOLD) if classes is None else classes
        embedded: Tensor = self.classes(torch.where(classes == UNTOLD, self.classes.num_embeddings - 1, classes))
        return told + embedded

    def seen(self, x: Tensor, told: Tensor) -> list[Tensor]:
        """(N, widths[k], *space_k) at each size k, from the full one down, padded."""
        x, seen = self.enter(pad_to(x, self.multiples)), []
        for level, blocks in enumerate(self.down):
            x = blocks(self.halve[level - 1](x) if level else x, told)
            seen.append(x)
        return seen


class Denoiser(TimedTrunk):
    """Noisy images (N, C, *space), their times and perhaps their classes -> the noise in them; 0 until it has learned.

    A U-Net (Ho et al. 2020); arguments as for `TimedTrunk`.
    """

    def __init__(self, shape: Sequence[int], *, blocks: int = 1, **settings: int) -> None:
        super().__init__(shape, blocks=blocks, **settings)
        channels, dims, told = shape[0], len(shape) - 1, 4 * self.width
        self.middle = Blocks(dims, self.widths[-1], self.widths[-1], told, 1, False)
        self.enlarge, self.up = nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(len(self.factors))):
            a, b = self.widths[level], self.widths[level + 1]
            self.enlarge.append(DoubleThenConvolution(self.factors[level], b, a))
            self.up.append(Blocks(dims, 2 * a, a, told, blocks, self.attends[level]))
        initialise(self.enlarge)
        leave = CONVOLUTION[dims](self.width, channels, 3, padding=1)
        self.leave = nn.Sequential(nn.GroupNorm(_groups(self.width), self.width), nn.SiLU(), _silent(leave))

    def forward(self, x: Tensor, t: Tensor, classes: Tensor | None = None) -> Tensor:
        """x_t (N, C, *space), t (N,) int64, classes (N,) int64, some `UNTOLD`, None for all -> (N, C, *space)."""
        told, space = self.told(t, classes), x.shape[2:]
        seen = self.seen(x, told)
        x = self.middle(seen.pop(), told)
        for enlarge, up in zip(self.enlarge, self.up, strict=True):
            x = up(torch.cat([enlarge(x), seen.pop()], 1), told)
        return crop(self.leave(x), space)


class Blocks(nn.Module):
    """Residual blocks of one size, each told the time, and each followed by attention if it `attends`."""

    def __init__(self, dims: int, channels: int, out: int, told: int, blocks: int, attends: bool) -> None:
        super().__init__()
        from monai.networks.nets.diffusion_model_unet import DiffusionUNetResnetBlock

        groups = _groups(channels, out)
        self.residual = nn.ModuleList(
            DiffusionUNetResnetBlock(dims, each, told, out, norm_num_groups=groups)
            for each in [channels, *[out] * (blocks - 1)]
        )
        self.attention = nn.ModuleList(Attention(out) if attends else nn.Identity() for _ in range(blocks))

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """(N, channels, *space), (N, told) -> (N, out, *space)."""
        for residual, attention in zip(self.residual, self.attention, strict=True):
            x = attention(residual(x, told))
        return x


class Attention(nn.Module):
    """Each place looks at all others and adds what it saw, at first nothing: norm, self-attention with one head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(_groups(channels), channels)
        self.ask, self.tell = nn.Linear(channels, 3 * channels), _silent(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, *space) -> the same."""
        places = self.norm(x).flatten(2).transpose(1, 2)
        told: Tensor = self.tell(F.scaled_dot_product_attention(*self.ask(places).chunk(3, -1)))
        return x + told.transpose(1, 2).reshape(x.shape)


def _groups(*channels: int) -> int:
    """Up to four groups that divide the channels, of four or more: a norm of one channel forgets what it was told."""
    return max(1, math.gcd(16, *channels) // 4)


def _silent(layer: nn.Module) -> nn.Module:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def _full(x: Tensor, t: int) -> Tensor:
    return torch.full((len(x),), t, device=x.device)
