"""How unsure shares of classes are: of several segmenters, or of one whose dropout is left on; entropies in nats.

Of a mean share p over draws s with shares p_s, at each pixel (Depeweg et al. 2018, eq. 3; Gal 2016, section 3.3):

- the entropy H[p], all that is unsure, from 0 to log K;
- the expected entropy, mean_s H[p_s], what is unsure in each draw: edges, noise, what cannot be told by anybody;
- their difference, the mutual information of class and draw: where draws disagree, which more label maps would lessen.

The last two add up to the first. `normalised` divides by log K, so that 1 is as unsure as can be.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import log
from typing import NamedTuple

import torch
from torch import Tensor, nn

from anomaly.errors import AnomalyError
from anomaly.segmenters.base import Segmenter

DROPOUTS = (nn.Dropout, nn.Dropout2d, nn.Dropout3d)


class Unsure(NamedTuple):
    """Mean shares of classes and how unsure they are, in nats.

    Args:
        shares: (N, K, *space), adding up to 1.
        entropy: of the mean share, (N, 1, *space), from 0 to log K.
        expected: mean of the draws' entropies, likewise, at most `entropy`.
        information: entropy - expected, likewise; 0 where all draws say the same.
    """

    shares: Tensor
    entropy: Tensor
    expected: Tensor
    information: Tensor

    def normalised(self) -> "Unsure":
        """With entropies as shares of log K, from 0 to 1."""
        most = log(self.shares.shape[1])
        return Unsure(self.shares, self.entropy / most, self.expected / most, self.information / most)


def unsure(draws: Iterable[Tensor]) -> Unsure:
    """What several answers (N, K, *space) about the same images come to; one of them is held at a time.

    Raises:
        AnomalyError: no answer, or answers of other forms.
    """
    total, entropies, count = torch.zeros(()), torch.zeros(()), 0
    for shares in draws:
        if count and shares.shape != total.shape:
            raise AnomalyError(
                f"one answer has shape {tuple(shares.shape)}, those before {tuple(total.shape)}; all must be of the "
                "same images and classes"
            )
        entropies = entropy(shares) + entropies.to(shares)
        total, count = shares + total.to(shares), count + 1
    if not count:
        raise AnomalyError("expected an answer or more, got none; give a segmenter, or draw once or more")
    mean, expected = total / count, entropies / count
    whole = entropy(mean)
    return Unsure(mean, whole, expected, (whole - expected).clamp_min(0))


def entropy(shares: Tensor) -> Tensor:
    """- sum_k p_k log p_k of shares (N, K, *space), (N, 1, *space) in nats; a share of 0 adds nothing."""
    return torch.special.entr(shares).sum(1, keepdim=True)


def of_several(segmenters: Sequence[Segmenter], x: Tensor) -> Unsure:
    """An ensemble's answer about images (N, C, *space), each segmenter one draw (Lakshminarayanan et al. 2017).

    Raises:
        AnomalyError: no segmenter, or they know other numbers of classes.
    """
    return unsure(segmenter.whole(x) for segmenter in segmenters)


def by_dropout(segmenter: Segmenter, x: Tensor, *, draws: int = 16, seed: int = 0) -> Unsure:
    """A segmenter's answer about images (N, C, *space), its dropout left on (Gal and Ghahramani 2016).

    Each draw goes over whole images. The same seed gives the same draws; the caller's random state stays as it was.

    Raises:
        AnomalyError: the segmenter has no dropout, so that all draws would be the same.
    """
    segmenter.ready()
    if not any(isinstance(module, DROPOUTS) and module.p > 0 for module in segmenter.net_.modules()):
        raise AnomalyError(
            f"this {segmenter.name} segmenter has no dropout, so that all draws would be the same; train with --set "
            "dropout=0.1, or take an ensemble"
        )
    devices = [segmenter.device] if segmenter.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), dropping(segmenter.net_):
        torch.manual_seed(seed)
        return unsure(segmenter.whole(x) for _ in range(draws))


@contextmanager
def dropping(networks: nn.Module) -> Iterator[None]:
    """Dropout as in training while this lasts, all else as at test time."""
    layers = [module for module in networks.modules() if isinstance(module, DROPOUTS)]
    before = [layer.training for layer in layers]
    try:
        for layer in layers:
            layer.train()
        yield
    finally:
        for layer, was in zip(layers, before, strict=True):
            layer.train(was)
