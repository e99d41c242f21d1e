"""Counterfactuals against any target: what must change in an image so that a classifier or a detector changes sides."""

import logging
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from anomaly.errors import AnomalyError
from anomaly.nets.critics import PatchCritic
from anomaly.training.batches import chunks, evenly
from anomaly.training.learned import Images
from explain.base import Explanation, Target
from explain.counterfactuals.conditional import TwoWayExplainer, beside
from explain.counterfactuals.criticised import Terms
from explain.counterfactuals.paired import possible_halvings
from explain.trained import drawn

logger = logging.getLogger(__name__)
PATCHES = 16  # at 64 pixels patches of 34, from 128 on those of 70
ASKED = 256
"""Images of each side that the target's typical values are taken from, at most."""
CHANCE, WEAK = 2.0, 1.0
"""Fewer standard errors between the sides may be chance; fewer standard deviations leave little to explain."""


@dataclass(kw_only=True)
class Targeted(TwoWayExplainer):
    """Draws each image so that a given target takes it for the other side, while it looks real and little changes.

    The way of StarGAN and CycleGAN (Choi et al. 2018, Zhu et al. 2017), the class head replaced by the target. The
    critic judges overlapping patches of each image by itself, by least squares (Mao et al. 2017), and knows no sides:
    only the target says what makes a case. Unlike a Wasserstein critic's, what it says does not grow with the image, so
    that the weights hold for images of any size. The generator lowers

        (D(x') - 1)^2 + shortfall max(0, 1 -+ s(x')) + proximity |x' - x| + cycle |back - x| + identity |same - x|,

    x' the image on its other side, s the target on a scale where the typical control (the mean of those to learn from)
    is -1 and the typical case 1; beyond what is typical of the other side nothing more is to be had. The target stands
    still and gets no gradients; it is asked in full precision. Diagnostics: "before" and "after", the target of image
    and counterfactual in its own units.

    Args:
        shortfall: weight of what is missing to the other side's typical value.
        proximity: weight of the mean absolute change.
    """

    name: ClassVar[str] = "targeted"
    summary: ClassVar[str] = "what to change so that a given classifier or detector changes sides; unpaired"
    cite: ClassVar[str] = "Choi et al. 2018 (StarGAN); Zhu et al. 2017 (CycleGAN)"
    takes_target: ClassVar[bool] = True
    not_negative: ClassVar[tuple[str, ...]] = (*TwoWayExplainer.not_negative, "shortfall", "proximity")
    batch: int = 16
    lr: float = 2e-4
    norm: str = "instance"
    critic_turns: int = 1
    critic_width: int = 32
    shortfall: float = 1.0
    proximity: float = 5.0

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """Generator, critic, and the target's typical values."""
        channels, *space = shape
        halved = min(possible_halvings(space), 3, max(1, int(math.log2(min(space) / PATCHES))))
        critic = PatchCritic(channels, len(space), width=self.critic_width, halved=halved)
        return nn.ModuleDict({"generator": self.generator(shape), "critic": critic, "typical": Typical()})

    def settle(self, controls: Images, cases: Images) -> None:
        """Ask the target of some controls and cases what is typical of each side.

        Raises:
            AnomalyError: the target is no higher in cases than chance would make it.
        """
        of_controls, of_cases = (self._asked(images) for images in (controls, cases))
        means, variances = (
            torch.stack([each(of_controls), each(of_cases)]) for each in (torch.mean, lambda v: v.var(correction=0))
        )
        apart = float(means[1] - means[0])
        error = float((variances / torch.tensor([len(of_controls), len(of_cases)])).sum().sqrt())
        told = f"the target is {means[0]:.4g} on average in controls and {means[1]:.4g} in cases"
        if not apart > CHANCE * error:
            raise AnomalyError(
                f"{told}, which may be chance ({error:.2g} standard error): it does not tell them apart, so there is "
                "nothing to explain; give one that is higher in cases"
            )
        if apart < WEAK * float(variances.mean().sqrt()):
            logger.warning("%s, less than a standard deviation apart: it hardly tells them apart", told)
        self.net_["typical"].values.copy_(means)

    def _asked(self, images: Images) -> Tensor:
        chosen = evenly(len(images), ASKED)
        return torch.cat([self.ask(x).cpu().double() for x in chunks(images[chosen], self.device)])

    def standing(self, x: Tensor) -> Tensor:
        """Where the target puts images (N, C, *space): -1 typical control, 1 typical case; (N,).

        Differentiable in the images alone: what the target is made of gets no gradients, whoever it belongs to.
        """
        control, case = self.net_["typical"].values
        with torch.autocast(x.device.type, enabled=False):
            value = _held_still(self.ask, x)
        return (2 * value - control - case) / (case - control)

    def critic_loss(self, batch: tuple[Tensor, Tensor]) -> Terms:
        """((D(x) - 1)^2 + D(x')^2) / 2, means over patches."""
        x, own = beside(batch)
        with torch.no_grad():
            fake = self.translate(x, 1 - own)
        real, drawn = (self.net_["critic"](each).float() for each in (x, fake))
        terms = {"real": (real - 1).square().mean(), "drawn": drawn.square().mean()}
        return (terms["real"] + terms["drawn"]) / 2, terms

    def generator_loss(self, batch: tuple[Tensor, Tensor]) -> Terms:
        """(D(x') - 1)^2, what is missing of the target, and what changes, each by its weight."""
        x, own = beside(batch)
        same, other = self.translate(torch.cat([x, x]), torch.cat([own, 1 - own])).chunk(2)
        back = self.translate(other, own)
        towards = (1 - 2 * own).to(x.dtype)  # 1 for a control on its way to a case
        terms = {
            "adversarial": (self.net_["critic"](other).float() - 1).square().mean(),
            "shortfall": (1 - towards * self.standing(other)).clamp_min(0).mean(),
            "proximity": (other - x).abs().mean(),
            "cycle": (back - x).abs().mean(),
            "identity": (same - x).abs().mean(),
        }
        return torch.stack([getattr(self, name) * term for name, term in terms.items()]).sum(), terms

    def counterfactual(self, x: Tensor) -> Explanation:
        """The image drawn as a control."""
        moved = self.as_controls(x)
        return drawn(x, moved, before=self.ask(x), after=self.ask(moved))


class Typical(nn.Module):
    """Keeps the mean target of controls and of cases."""

    values: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("values", torch.tensor([-1.0, 1.0]))


def _held_still(target: Target, x: Tensor) -> Tensor:
    """The target (N,) of images, with its gradient in them and in nothing else."""
    if not x.requires_grad:
        return target(x)
    image = x.detach().requires_grad_()
    value = target(image)
    (slope,) = torch.autograd.grad(value.sum(), image)
    if not slope.isfinite().all():
        raise AnomalyError(
            "the target has no finite gradient at or near these images; look for square roots, logarithms and "
            "divisions at zero"
        )
    # Each image is judged by itself, so its slope is all there is to know of it here.
    return value.detach() + (slope * (x - image.detach())).flatten(1).sum(1)
