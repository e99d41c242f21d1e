"""Whether a training is the beginning of a longer one, so that going on with it gives what the longer one would."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anomaly.training.games import Player, Stage


def unlike(shorter: Sequence[Stage], longer: Sequence[Stage]) -> str:
    """Why the first training is not how the second begins; "" where it is.

    It is where both differ in nothing but the length of the last stage. A learning rate or a running average that
    follows from that length is another from the first step on. What losses do is not looked at: one that asks how many
    steps there are in all would go unseen.

    Args:
        shorter: the stages of the training that is done.
        longer: those of the same method with more steps.
    """
    if not longer:
        return "it learns in closed form, not by steps"
    names = [[stage.name for stage in stages] for stages in (shorter, longer)]
    if names[0] != names[1]:
        return f"its stages would be others ({', '.join(names[1])})"
    for old, new in zip(shorter[:-1], longer[:-1], strict=True):
        if old.steps != new.steps:
            return f"stage {old.name} would be longer, and {shorter[-1].name} comes after it"
    last, wanted = shorter[-1], longer[-1]
    if wanted.steps <= last.steps:
        return f"its last stage, {last.name}, would be as long as it is"
    for before, after in zip(last.players, wanted.players, strict=True):
        if why := _other_moves(before, after, last.steps, wanted.steps):
            return f"{why} of {before.name!r} follows from how many steps there are in all"
    return ""


def _other_moves(before: Player, after: Player, steps: int, more: int) -> str:
    """What a player would have done otherwise in the steps that are done."""
    rates = (
        [1.0 if player.schedule is None else player.schedule(k / length) for k in range(steps)]
        for player, length in ((before, steps), (after, more))
    )
    first, second = rates
    if first != second:
        return "the learning rate"
    if before.ema != after.ema:
        return "the running average"
    return "" if (before.turns, before.every) == (after.turns, after.every) else "the turn"
