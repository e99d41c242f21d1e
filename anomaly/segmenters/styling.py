"""A CycleGAN whose drawings a segmenter has to read as it reads what they were drawn from."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from anomaly.nets.within import within
from anomaly.segmenters.base import Labelled
from anomaly.segmenters.losses import dice_and_entropy
from anomaly.translators.cycle import CycleGAN, Pair, Terms

Said = Callable[[Tensor], Tensor]


@dataclass(kw_only=True)
class Styling(CycleGAN):
    """Draws labelled windows as those without label maps look, and back; its batches are (windows, places), windows.

    Args:
        task: weight of Dice and cross-entropy of what `said` finds in drawings.
        said: images (N, C, *space) -> logits (N, K, *space); a network that stands still.
    """

    name: ClassVar[str] = "styling"
    task: float = 1.0
    said: Said = field(repr=False)

    def generators_loss(self, batch: tuple[Labelled, Tensor]) -> Terms:  # type: ignore[override]
        """Those of CycleGAN, and `task` (Hoffman et al. 2018, equations 4 to 6)."""
        (x, self._places), y = batch
        return super().generators_loss((x, y))

    def further(self, pair: Pair, to: Tensor, of: Tensor) -> dict[str, Tensor]:
        """What is found in drawings of labelled windows, against their labels; of others, against what was found."""
        if not self.task:
            return {}
        y = pair[1]
        told = self.said(y).argmax(1)
        lost = dice_and_entropy(self.said(to), self._places, self._counted(pair[0]))
        return {"task": lost + dice_and_entropy(self.said(of), told, self._counted(y))}

    def critics_loss(self, batch: tuple[Labelled, Tensor]) -> Terms:  # type: ignore[override]
        """Those of CycleGAN."""
        (x, _), y = batch
        return super().critics_loss((x, y))

    def _counted(self, x: Tensor) -> Tensor | None:
        return within(x)[:, 0] if self.masked_ else None
