"""One image, shown weakly and strongly: what a network is sure of in the first it has to say of the others."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from anomaly.errors import AnomalyError
from anomaly.nets.unet import UNet
from anomaly.segmenters.augmenting import cut_boxes, strongly
from anomaly.segmenters.base import Labelled, Segmenter
from anomaly.segmenters.losses import dice_and_entropy, dice_loss
from anomaly.training.games import Loss

DROPPED = {2: F.dropout2d, 3: F.dropout3d}
STRONG, PERTURBED = 0.25, 0.5
"""Weights, of each strong view and of what is said from dropped features, beside 1 for label maps; half of the sum."""


class Told(NamedTuple):
    """What a network said of weakly shown windows: classes (N, *space), and where these count."""

    places: Tensor
    counted: Tensor


@dataclass(kw_only=True)
class UniMatch(Segmenter):
    """Learns from label maps, and from images without by saying of strong views what it is sure of in weak ones.

    Args:
        sure: share of the likeliest class from which on a pixel of a weak view is believed.
        dropped: chance of a feature to be dropped, of all that is handed across, where the weak view is asked again.
    """

    name: ClassVar[str] = "unimatch"
    summary: ClassVar[str] = "says of strongly changed images what it is sure of in the same ones unchanged"
    cite: ClassVar[str] = "Yang et al. 2023 (UniMatch)"
    unlabelled: ClassVar[bool] = True
    not_negative: ClassVar[tuple[str, ...]] = (*Segmenter.not_negative, "dropped", "sure")
    below_one: ClassVar[tuple[str, ...]] = (*Segmenter.below_one, "dropped", "sure")
    sure: float = 0.95
    dropped: float = 0.5

    def refuse_shares(self, processes: int) -> None:
        """Say plainly when there is no other window to take a box from.

        Raises:
            AnomalyError: a process has one window alone.
        """
        if self.batch // processes < 2:
            raise AnomalyError(
                f"{self.name} lays boxes of one window into another, and batch={self.batch} over {processes} "
                f"process{'es' * (processes > 1)} leaves one window each; take --set batch={2 * processes} or more"
            )

    def loss(self, batch: tuple[Labelled, Tensor]) -> Loss:
        """(x + (s1 + s2) / 4 + fp / 2) / 2, as the authors' code has it for scans."""
        (x, places), u = batch
        x, places = self.augmenting(x, places)
        u = self.augmenting.moved(u)
        said, weak, perturbed = self.asked(x, u)
        told = self.told(weak, u)
        views = [self.view(u, told) for _ in range(2)]
        of_views = self.net_["student"](torch.cat([view for view, _ in views])).float().chunk(2)
        labelled = dice_and_entropy(said, places, self.counted(x))
        # Of the background as well: most of what it is sure of is that, and lesions found there by mistake are to go.
        dice = partial(dice_loss, background=True)
        strong = torch.stack([dice(one, *each) for one, (_, each) in zip(of_views, views, strict=True)]).sum()
        again = dice(perturbed, *told)
        loss = (labelled + STRONG * strong + PERTURBED * again) / 2
        terms = {"labelled": labelled, "strong": strong / 2, "dropped": again, "sure": told.counted.float().mean()}
        return loss, {name: term.detach() for name, term in terms.items()}

    def asked(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the network says of both, and of `u` once more with features dropped; all but the last by one pass."""
        network = self.net_["student"]
        assert isinstance(network, UNet)
        across = network.encoded(torch.cat([x, u]))
        drop = DROPPED[u.ndim - 2]
        again = [torch.cat([each, drop(each[len(x) :], self.dropped)]) for each in across]
        logits = network.leave(network.decoded(again, x.shape[2:])).float()
        said, weak, perturbed = logits.split([len(x), len(u), len(u)])
        return said, weak.detach(), perturbed

    def told(self, weak: Tensor, u: Tensor) -> Told:
        """The likeliest classes of weak views, and where the network is sure of them."""
        share, places = weak.softmax(1).max(1)
        counted, inside = share >= self.sure, self.counted(u)
        return Told(places, counted if inside is None else counted & inside)

    def view(self, u: Tensor, told: Told) -> tuple[Tensor, Told]:
        """Windows shown strongly, with boxes of one another in them, and what is told of these."""
        strong = strongly(u, masked=self.masked_)
        boxes = cut_boxes(u)
        mixed = torch.where(boxes[:, None], strong.roll(1, 0), strong)
        places, counted = (torch.where(boxes, each.roll(1, 0), each) for each in told)
        return mixed, Told(places, counted)
