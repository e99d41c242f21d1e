"""What the explainers ask of a generator: codes of images, images of codes, and codes of new images."""

from typing import Protocol

import torch
from torch import Tensor

from anomaly.errors import AnomalyError
from anomaly.training.batches import passes


class Generator(Protocol):
    """Draws images from codes, and knows the code of an image; a detector that has both, for instance.

    Each image has a code of its own, whatever the others of its batch. `encode` may give a code for each of several
    layers, w+ (N, layers * K), where `mapped` gives one for all of them, w (N, K); `decode` takes either.
    """

    latent: int
    """Length of the noise that new images are drawn from."""
    shape_: tuple[int, ...]
    """(C, *space) of one image."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    def encode(self, x: Tensor) -> Tensor:
        """Codes (N, K) of images (N, C, *space)."""

    def decode(self, code: Tensor) -> Tensor:
        """Images (N, C, *space) in [-1, 1] of codes (N, K), differentiable in them."""

    def mapped(self, noise: Tensor, classes: Tensor | None = None) -> Tensor:
        """Codes of new images from noise (N, latent), N(0, I), and their classes (N,) where there are some."""


def new_codes(generator: Generator, count: int) -> Tensor:
    """Codes (count, K) of new images, drawn by torch's random numbers; of all classes alike where there are some.

    Raises:
        AnomalyError: the generator says that it draws nothing new.
    """
    if not getattr(generator, "generates", True):
        raise AnomalyError(
            f"{getattr(generator, 'name', 'the generator')} draws images again, but no new ones from noise; give a "
            "generator that does, or use latent-shift, which needs none"
        )
    noise = torch.randn(count, generator.latent)
    classes = getattr(generator, "classes", 0)
    which = torch.randint(classes, (count,)) if classes else None
    codes = []
    for at in torch.arange(count).split(passes(generator.shape_)):
        told = None if which is None else which[at].to(generator.device)
        codes.append(generator.mapped(noise[at].to(generator.device), told))
    return torch.cat(codes)


def in_layers(vector: Tensor, length: int) -> Tensor:
    """A vector (K,) of w for a code of so many values: the same in each layer of w+.

    Raises:
        AnomalyError: the code is no whole number of layers.
    """
    if length % len(vector):
        raise AnomalyError(
            f"the generator gives images codes of {length} values and maps noise to codes of {len(vector)}; expected "
            "as many, or a multiple, one for each layer"
        )
    return vector.repeat(length // len(vector))
