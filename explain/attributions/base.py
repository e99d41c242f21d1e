"""What the attributions share: settings are checked, and every image of a batch meets the same random numbers."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from anomaly.errors import AnomalyError
from anomaly.training.limits import Limited
from explain.base import Explainer


@dataclass(kw_only=True)
class Attribution(Limited, Explainer):
    """Base of the attributions: its settings are checked when it is made."""


def gradient(value: Tensor, of: Tensor, what: str = "the image") -> Tensor:
    """d value / d of, of values (n,) that no other image has a say in.

    Raises:
        AnomalyError: the values do not depend on it.
    """
    (slope,) = torch.autograd.grad(value.sum(), of, allow_unused=True) if of.requires_grad else (None,)
    if slope is None:
        raise AnomalyError(f"the target cannot be differentiated by {what}: its value does not depend on it")
    return slope


def draws() -> torch.Generator:
    """Random numbers that begin alike whenever asked for in one `explain`: they follow its seed alone.

    So the images of a batch meet the same ones, wherever they stand in it. They are not those that a target with
    random numbers of its own draws from the same seed.
    """
    first = torch.Generator().manual_seed(torch.initial_seed())
    return torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=first)))


def shaken(image: Tensor, noise: float, samples: int, batch: int) -> Iterator[Tensor]:
    """An image (1, C, *space) with Gaussian noise, so many times, at most `batch` at once.

    Each noise comes with both signs: whatever is linear in it averages out exactly, the mean over all noise stays.

    Args:
        image: stays as it is.
        noise: its standard deviation, as a share of the range of the image.
        samples: how many images; of an odd number the last noise comes once.
        batch: the most of them at once.
    """
    width, generator = noise * (image.amax() - image.amin()), draws()

    def noises() -> Iterator[Tensor]:
        while True:
            one = width * torch.randn(image.shape, generator=generator).to(image) if noise else torch.zeros_like(image)
            yield from (one, -one)

    endless = noises()
    for start in range(0, samples, batch):
        yield image + torch.cat(list(islice(endless, min(batch, samples - start))))
