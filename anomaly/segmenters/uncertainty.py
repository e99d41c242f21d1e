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

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


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
        total, count = total + shares if count else shares, count + 1
    if not count:
        raise AnomalyError("expected an answer or more, got none; give a segmenter, or draw once or more")
    mean, expected = total / count, entropies / count
    whole = entropy(mean)
    return Unsure(mean, whole, expected, (whole - expected).clamp_min(0))


def entropy(shares: Tensor) -> Tensor:
    """- sum_k p_k log p_k of shares (N, K, *space), (N, 1, *space) in nats; a share of 0 adds nothing."""
    return torch.special.entr(shares).sum(1, keepdim=True)


def asked(segmenters: Sequence[Segmenter], x: Tensor, *, draws: int = 0, seed: int = 0) -> Unsure:
    """What segmenters of the same classes say of images (N, C, *space) together, by windows as each learned from.

    Each segmenter is a draw (Lakshminarayanan et al. 2017), or with `draws` each look of one with its dropout left on
    (Gal and Ghahramani 2016). The same seed drops the same; the caller's random state stays as it was.

    Raises:
        AnomalyError: no segmenter, they know other numbers of classes, or one that is to drop has no dropout.
    """
    if draws:
        for segmenter in segmenters:
            refuse_without_dropout(segmenter)
    return unsure(_answers(segmenters, x, draws, seed))


def _answers(segmenters: Sequence[Segmenter], x: Tensor, draws: int, seed: int) -> Iterator[Tensor]:
    for segmenter in segmenters:
        if not draws:
            yield segmenter.whole(x)
        for k in range(draws):
            with dropping(segmenter, seed + k):
                found = segmenter.whole(x)
            yield found


def refuse_without_dropout(segmenter: Segmenter, name: object = None) -> None:
    """Say plainly when a segmenter, perhaps by the name of its run, has no layer that drops anything.

    Raises:
        AnomalyError: so.
    """
    segmenter.ready()
    if not _dropouts(segmenter.net_):
        raise AnomalyError(
            f"{name or f'this {segmenter.name} segmenter'} was trained without dropout, so that all draws of it would "
            "be alike; draw none (--dropout-draws 0), train with --set dropout=0.1, or take an ensemble"
        )


@contextmanager
def dropping(segmenter: Segmenter, seed: int) -> Iterator[None]:
    """Dropout as in training while this lasts, the same for the same seed; all else as at test time."""
    layers = _dropouts(segmenter.net_)
    devices = [segmenter.device] if segmenter.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        try:
            for layer in layers:
                layer.train()
            yield
        finally:
            for layer in layers:
                layer.eval()


def _dropouts(networks: nn.Module) -> list[nn.Module]:
    return [layer for layer in networks.modules() if isinstance(layer, DROPOUTS) and layer.p > 0]
