"""CycleGAN: images of one heap drawn as of the other, learned without pairs (Zhu et al. 2017); 2D or 3D."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from anomaly.errors import AnomalyError
from anomaly.nets.critics import PatchCritic
from anomaly.nets.losses import l1
from anomaly.nets.residual_translator import ResidualTranslator
from anomaly.nets.unet import UNet
from anomaly.nets.within import kept, mean_of_batch, mean_within, within
from anomaly.training.batches import Batches, Beside, chunks, evenly
from anomaly.training.games import Glance, Player, Stage
from anomaly.training.journal import Journal
from anomaly.training.learned import Images, Learned, share_of
from anomaly.training.machine import Machine
from anomaly.translators.remembered import OldFakes

LEVELS, SHOWN = 4, 8
NETWORKS: Mapping[str, Callable[["CycleGAN", tuple[int, ...]], nn.Module]] = {
    "resnet": lambda c, shape: ResidualTranslator(shape, width=c.width, blocks=c.blocks, norm=c.norm),
    "unet": lambda c, shape: UNet(
        shape, out=shape[0], widths=[c.width << level for level in range(LEVELS)], norm=c.norm
    ),
}
NORMS = ("instance", "group", "none")
FORMS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "residual": lambda x, drawn: x + drawn,
    "direct": lambda x, drawn: torch.tanh(drawn),
}
Pair = tuple[Tensor, Tensor]
Terms = tuple[Tensor, dict[str, Tensor]]


@dataclass(kw_only=True)
class CycleGAN(Learned):
    """Draws images of one heap ("from") as those of another ("to") look, and back, without pairs.

    Two generators, F -> T and T -> F, and a patch critic of each heap by least squares, which is shown old drawings too
    (Zhu et al. 2017, sections 3 and 4, appendix 7.1). In each step the generators move, then the critics. It makes the
    heaps look alike in all that differs between them: where they differ in people, in disease or in age, it draws that.

    Args:
        steps: of the generators.
        batch: images of each heap in a batch; 1 in the original.
        lr: learning rate of Adam (0.5, 0.999).
        decay: share of the steps, at the end, over which the rate falls linearly to 0.
        network: "resnet" (the residual generator as published) or "unet" (details are handed across).
        form: what a generator draws: "residual", what is to be added to the image, 0 at first; or "direct", the image
            itself, by tanh, as published.
        norm: of the generators: "instance", as published, which forgets how bright an image is; "group" (of up to 8
            groups), which forgets less; or "none".
        width: channels of a generator at full size; 64 in the original.
        blocks: residual blocks of "resnet"; 6 for 128 pixels and 9 for 256 in the original.
        adversarial: weight of (D(drawn) - 1)^2.
        cycle: weight of |x - back|, there and back.
        identity: weight of |x - drawn as what it is|; 5 in the original, whose form is "direct". It holds "residual"
            where it begins.
        remembered: old drawings, of each heap, from which half of what a critic is shown is taken; 0 for none.
        critic_width: channels after the critics' first convolution; 64 in the original.
        halved: how often a critic halves the image: 3 judges patches of 70 pixels (as published, for 256), 2 of 34, 1
            of 16, 0 of 7.
    """

    name: ClassVar[str] = "cyclegan"
    summary: ClassVar[str] = "CycleGAN: images of one heap drawn as those of another, there and back; without pairs"
    cite: ClassVar[str] = "Zhu et al. 2017; Shrivastava et al. 2017 (old drawings); Mao et al. 2017 (least squares)"
    kind: ClassVar[str] = "translator"
    positive: ClassVar[tuple[str, ...]] = ("steps", "batch", "lr", "width", "blocks", "critic_width")
    not_negative: ClassVar[tuple[str, ...]] = (
        "decay", "adversarial", "cycle", "identity", "remembered", "halved",
    )  # fmt: skip
    at_most_one: ClassVar[tuple[str, ...]] = ("decay",)
    choices: ClassVar[Mapping[str, Iterable[str]]] = {"network": NETWORKS, "form": FORMS, "norm": NORMS}
    steps: int = 2000
    batch: int = 1
    lr: float = 2e-4
    decay: float = 0.5
    network: str = "resnet"
    form: str = "residual"
    norm: str = "instance"
    width: int = 16
    blocks: int = 6
    adversarial: float = 1.0
    cycle: float = 10.0
    identity: float = 0.0
    remembered: int = 50
    critic_width: int = 32
    halved: int = 2

    def build(self, shape: tuple[int, ...]) -> nn.Module:
        """Generators and critics of both heaps, and what the critics remember.

        Raises:
            AnomalyError: the images are smaller than the patches that the critics judge.
        """
        refuse_small(shape, self.halved)
        critic = partial(PatchCritic, shape[0], len(shape) - 1, width=self.critic_width, halved=self.halved)
        return nn.ModuleDict(
            {
                "there": NETWORKS[self.network](self, shape),
                "back": NETWORKS[self.network](self, shape),
                "critic_from": critic(),
                "critic_to": critic(),
                "old_from": OldFakes(shape, self.remembered),
                "old_to": OldFakes(shape, self.remembered),
            }
        )

    def stages(self) -> Sequence[Stage]:
        """The generators together, then the critics together."""
        self._drawn: Pair | None = None
        adam = partial(torch.optim.Adam, lr=self.lr, betas=(0.5, 0.999))
        moves = {"generators": self.generators_loss, "critics": self.critics_loss}
        owned = {"generators": ("there", "back"), "critics": ("critic_from", "critic_to")}
        players = [
            Player(
                name=name,
                owns=[self.net_[each] for each in owned[name]],
                loss=loss,
                optimiser=adam,
                schedule=self.falling,
            )
            for name, loss in moves.items()
        ]
        return [Stage(name="game", players=players, steps=self.steps)]

    def falling(self, done: float) -> float:
        """Factor on a learning rate when a share of the steps is done: 1, and at the end straight down to 0."""
        return min(1.0, (1 - done) / self.decay) if self.decay else 1.0

    def fit(
        self,
        source: Images,
        target: Images,
        *,
        held_out: tuple[Images, Images] | None = None,
        machine: Machine | None = None,
        seed: int = 0,
        journal: Journal | None = None,
    ) -> Self:
        """Learn to draw each heap as the other.

        Args:
            source: the heap "from", (n, C, *space) in [-1, 1]; a memory map is read batch by batch.
            target: the heap "to", (m, C, *space), prepared alike; of other lengths as may be.
            held_out: further images of both, for a person to watch; None takes those trained on.
            machine: device, precision, processes.
            seed: of weights, batches and what is remembered; the caller's random state stays as it was.
            journal: where to keep curves and checkpoints, and whether to resume.

        Raises:
            AnomalyError: images of the wrong or of two shapes, or smaller than a critic's patch.
        """
        _admit(source, target)
        machine = machine or Machine()
        share = share_of(self.batch, machine)
        self.make(source.shape[1:], machine, seed)
        sides = [
            Batches(images, size=self.batch, seed=2 * seed + side, share=share)
            for side, images in enumerate((source, target))
        ]
        (stage,) = self.stages()
        stage.glance = self._onlooker(*(held_out or (source, target)))
        self.play([stage], Beside(*sides), machine=machine, seed=seed, journal=journal)
        self._drawn = None
        self.net_.eval().requires_grad_(False)
        return self

    def drawn(self, x: Tensor, *, back: bool = False) -> Tensor:
        """Images (N, C, *space) as of the other heap, not clamped; masks are kept as they are."""
        drawn = FORMS[self.form](x, self.net_["back" if back else "there"](x).float())
        return kept(drawn, within(x)) if self.masked_ else drawn

    def generators_loss(self, batch: Pair) -> Terms:
        """adversarial (D(drawn) - 1)^2 + cycle |x - back| + identity |x - same|, of both ways (equations 1 to 3)."""
        x, y = batch
        to, of = self.drawn(x), self.drawn(y, back=True)
        terms = {"adversarial": self._fooled("critic_to", to) + self._fooled("critic_from", of)}
        if self.cycle > 0:
            terms["cycle"] = self._apart(self.drawn(to, back=True), x) + self._apart(self.drawn(of), y)
        if self.identity > 0:
            terms["identity"] = self._apart(self.drawn(y), y) + self._apart(self.drawn(x, back=True), x)
        terms |= self.further(batch, to, of)
        self._drawn = (of.detach(), to.detach())
        return torch.stack([getattr(self, name) * term for name, term in terms.items()]).sum(), terms

    def further(self, pair: Pair, to: Tensor, of: Tensor) -> dict[str, Tensor]:
        """Terms that a method built upon this adds for a pair and its drawings; settings of their names weigh them."""
        return {}

    def critics_loss(self, batch: Pair) -> Terms:
        """((D(real) - 1)^2 + D(shown)^2) / 2 of both critics; what is shown was drawn in this step or before."""
        terms = {}
        drawn = self._drawn or (self.drawn(batch[1], back=True), self.drawn(batch[0]))
        for name, real, fake in zip(("from", "to"), batch, drawn, strict=True):
            shown = self.net_[f"old_{name}"].shown(fake)
            judged = self.net_[f"critic_{name}"](torch.cat([shown, real])).float()
            of_fake, of_real = judged.chunk(2)
            terms[name] = ((of_real - 1).square().mean() + of_fake.square().mean()) / 2
        return terms["from"] + terms["to"], terms

    def _fooled(self, critic: str, drawn: Tensor) -> Tensor:
        fooled: Tensor = (self.net_[critic](drawn).float() - 1).square().mean()
        return fooled

    def _apart(self, drawn: Tensor, x: Tensor) -> Tensor:
        return mean_of_batch(l1(drawn, x), within(x) if self.masked_ else None)

    def translate(self, x: Tensor, *, back: bool = False) -> Tensor:
        """Images (N, C, *space) of "from" as of "to", or `back`, clamped to [-1, 1], on the device they come from.

        Raises:
            AnomalyError: nothing has been learned, or images of another shape.
        """
        self.check(x)
        with torch.no_grad():
            parts = [self.drawn(part, back=back).clamp(-1, 1).to(x.device) for part in chunks(x, self.device)]
        return torch.cat(parts) if parts else x

    def _onlooker(self, source: Images, target: Images) -> Callable[[], Glance]:
        shown = [next(chunks(images[evenly(len(images), SHOWN)], "cpu", SHOWN)) for images in (source, target)]

        def look() -> Glance:
            x, y = (each.to(self.device) for each in shown)
            to, of = self.translate(x), self.translate(y, back=True)
            home = self.translate(to, back=True)
            pictures = {"from": x, "drawn as to": to, "and back": home, "to": y, "drawn as from": of}
            figures = {"change": self.size(to, x), "lost_there_and_back": self.size(home, x)}
            return Glance(pictures=pictures, figures=figures)

        return look

    def size(self, drawn: Tensor, x: Tensor) -> float:
        """Mean absolute difference of images, within their masks where they have such."""
        return float(mean_within(l1(drawn, x), within(x) if self.masked_ else None).mean())


def patch(halved: int) -> int:
    """The side, in pixels, of the patches that a critic judges which halves so often: 7, 16, 34, 70."""
    side = 7
    for _ in range(halved):
        side = 2 * side + 2
    return side


def refuse_small(shape: Sequence[int], halved: int) -> None:
    """Say plainly when images of shape (C, *space) are smaller than what a critic judges.

    Raises:
        AnomalyError: they are.
    """
    space, wide = tuple(shape[1:]), patch(halved)
    if min(space) < wide:
        fitting = max((k for k in range(halved) if patch(k) <= min(space)), default=None)
        way = "give a larger --size" if fitting is None else f"give --set halved={fitting}, or a larger --size"
        raise AnomalyError(
            f"images of {' x '.join(map(str, space))} pixels are smaller than the patches of {wide} that a critic "
            f"judges with halved={halved}; {way}"
        )


def _admit(source: Any, target: Any) -> None:
    for images in (source, target):
        if images.ndim not in (4, 5) or not len(images):
            raise AnomalyError(f"expected images (n, C, *space), 2D or 3D, at least one; got {tuple(images.shape)}")
    if tuple(source.shape[1:]) != tuple(target.shape[1:]):
        raise AnomalyError(
            f"images to translate have shape {tuple(source.shape[1:])}, those of the other heap "
            f"{tuple(target.shape[1:])} (C, *space); prepare them alike"
        )
