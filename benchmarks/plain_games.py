"""Games as published code plays them, over networks as it writes them; what `explainer_steps` compares ours with."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from anomaly.nets.losses import gradient_penalty
from benchmarks.plain_layers import Strided, ThenPool, filtered, unfolded
from explain.counterfactuals.conditional import beside
from explain.counterfactuals.criticised import WASSERSTEIN

PENALISED, ONCE = "penalised", "once"


def plainly(learned: Any) -> Any:
    """The same method, its networks as published code writes them."""
    if learned.name == "stylegan":
        filtered(learned.net_)
    else:
        unfolded(learned.net_, Strided if learned.name.startswith("diffusion") else ThenPool)
    return learned


def published(learned: Any, game: str) -> Any:
    """A method, changed in place so that it plays as published; "" as it does.

    "wasserstein": VA-GAN's game, of as many moves, with the critic that the method has, in place of the published one,
    which is larger; "penalised": as ours, with the penalty of WGAN-GP in every move of
    the critic; "once": the critic sees what was drawn for the generator, who has to move first.
    """
    if game == WASSERSTEIN:
        learned.game = WASSERSTEIN
    elif game == PENALISED:
        learned.critic_loss = partial(penalised, learned)
    elif game == ONCE:
        draw_once(learned)
    return learned


def penalised(learned: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
    """The loss of a critic of patches, least squares, and ten times the penalty at mixed images."""
    x, own = beside(batch)
    critic = learned.net_["critic"]
    with torch.no_grad():
        fake = learned.translate(x, 1 - own)
    loss = ((critic(x) - 1).square().mean() + critic(fake).square().mean()) / 2
    steep = gradient_penalty(lambda z: critic(z).flatten(1).mean(1), x, fake).mean()
    total: Tensor = loss + 10 * steep
    return total


def draw_once(learned: Any) -> None:
    """Let the critic see again what the generator drew in its own move, which comes first."""
    translate = learned.translate
    kept: list[Tensor] = []

    def remembered(x: Tensor, *side: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return kept.pop()
        drawn: Tensor = translate(x, *side)
        if not kept:  # images and their other sides, or cases and their counterparts, are drawn as one batch
            both = drawn.detach().chunk(2) if side or learned.identity > 0 else [drawn.detach()]
            kept.append(both[1] if side else both[0])
        return drawn

    learned.translate = remembered
