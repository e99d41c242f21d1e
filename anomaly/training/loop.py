"""The one loop that trains everything: a game of players, in named stages, resumed exactly.

A `Player` owns some modules and moves them by its own loss. `train` plays one game; `train_stages` plays
several in turn and remembers which are done. Device, precision, processes, freezing, checkpoints, averages,
early stopping and loss curves live here and nowhere else, so a method writes only its losses.
"""

import logging
import math
import threading
from collections.abc import Sequence
from functools import partial

from torch import nn

from anomaly.errors import TrainingError
from anomaly.progress import progress
from anomaly.training.checkpoints import END, Checkpoint, newest, save, save_as
from anomaly.training.games import Course, Glance, Player, Source, Stage
from anomaly.training.journal import Curve, Journal, stop_when_asked
from anomaly.training.machine import Machine
from anomaly.training.playing import Play, fork_random_state, load_game

logger = logging.getLogger(__name__)
MOST_GLANCES = 50
"""In a stage; with more checkpoints than that, only every so many of them come with one."""

__all__ = ["Glance", "Journal", "Machine", "Player", "Source", "Stage", "cosine", "train", "train_stages"]


def cosine(done: float) -> float:
    """A schedule: half a cosine from 1 down to 0."""
    return 0.5 * (1 + math.cos(math.pi * done))


def train(
    game: nn.Module,
    players: Sequence[Player],
    batches: Source,
    *,
    steps: int,
    name: str = "train",
    machine: Machine | None = None,
    seed: int = 0,
    journal: Journal | None = None,
) -> None:
    """Play one game: in each step every player moves in turn. The modules are trained in place.

    Args:
        game: a module holding every network of the game, owned by a player or not; it is what checkpoints hold.
        players: who moves, in this order.
        batches: source of batch number 0, 1, 2, ...
        steps: length of the game.
        name: of this stage in the curves.
        machine: device, precision, processes.
        seed: of torch's generators while the game lasts; the caller's are left as they were.
        journal: where to keep checkpoints and curves.

    Raises:
        TrainingError: a loss is not finite, a player owns nothing, or two of them have one name.
        KeyboardInterrupt: asked to stop; a checkpoint was written first.
    """
    train_stages(
        game,
        [Stage(name=name, players=players, steps=steps)],
        batches,
        machine=machine,
        seed=seed,
        journal=journal,
    )


def train_stages(
    game: nn.Module,
    stages: Sequence[Stage],
    batches: Source,
    *,
    machine: Machine | None = None,
    seed: int = 0,
    journal: Journal | None = None,
) -> None:
    """Play several games one after the other over the same networks; see `train`.

    With `journal.resume` the stages already done are skipped and the one in progress goes on from its newest
    checkpoint: weights, averages, optimisers, random state and place in the data as they were.
    """
    machine, journal = machine or Machine(), journal or Journal()
    game.to(machine.torch_device)
    _refuse_doubles(stages, machine)
    found = newest(journal.folder / "checkpoint") if journal.folder and journal.resume else None
    done = list(found.facts["done"]) if found else []
    if machine.leads and journal.resume:
        _tell(found, done, stages)
    curve = Curve(journal.folder if machine.leads else None, found.facts if found else None)
    flags = [(parameter, parameter.requires_grad) for parameter in game.parameters()]
    try:
        with fork_random_state(machine), stop_when_asked() as asked:
            for number, stage in enumerate(stages):
                if stage.name not in done:
                    own = batches if stage.batches is None else stage.batches
                    play = Play(game, stage, own, machine, seed)
                    if found and found.facts["stage"] == stage.name:
                        play.restore(found)
                    _play_out(play, journal, curve, done, asked, Course(stages, number))
                    done.append(stage.name)
                elif found and stage.name == found.facts["stage"]:
                    load_game(game, found)
    finally:
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
        game.eval()


def _tell(found: Checkpoint | None, done: Sequence[str], stages: Sequence[Stage]) -> None:
    """Say where a resumed training goes on, where its first stage in progress does not say it."""
    if found is None:
        logger.info("there is no checkpoint yet: training begins with its first step")
    elif all(stage.name in done for stage in stages):
        logger.info("all steps were done: it goes on with what comes after training")


def _refuse_doubles(stages: Sequence[Stage], machine: Machine) -> None:
    """A checkpoint finds stages and players by name."""
    groups = {f"players of stage {stage.name!r}": [player.name for player in stage.players] for stage in stages}
    for what, names in ({"stages": [stage.name for stage in stages]} | groups).items():
        for name in names:
            if names.count(name) > 1:
                raise machine.alike(TrainingError(f"{names.count(name)} {what} are called {name!r}; name them apart"))


def _play_out(
    play: Play, journal: Journal, curve: Curve, done: list[str], asked: threading.Event, course: Course
) -> None:
    stage, machine = play.stage, play.machine
    if machine.leads and (told := course.told(play.step)):
        logger.info(told)

    def show() -> None:
        seen, fresh, rows = play.glance()
        curve.write(rows)
        for text in fresh:
            logger.warning("%s, step %d: %s", stage.name, play.step, text)
        if journal.draw is not None:
            journal.draw(stage.name, play.step, seen)

    often = journal.save_every * math.ceil(stage.steps / journal.save_every / MOST_GLANCES)

    def keep(finished: bool = False) -> None:
        play.check()
        if stage.glance is not None and (finished or play.step % often == 0):
            machine.lead(show)
        if journal.folder is not None:
            checkpoint = play.checkpoint([*done, stage.name] if finished else done)
            machine.lead(partial(save, journal.folder / "checkpoint", checkpoint))

    # A step of one stage takes other time than one of another: counted and foreseen is this one.
    of = "" if len(course.stages) == 1 else "this stage"
    with progress(course.name, stage.steps, done=play.step, of=of, shown=machine.leads) as bar:
        while play.step < stage.steps and not play.exhausted:
            play.advance()
            logs = play.step % journal.log_every == 0
            if logs:
                curve.write(play.rows())
            bar.advance(note=play.note if logs else "")
            if stage.watch is not None and play.step % stage.look_every == 0:
                play.look()
            # Several processes must stop at one step, or they wait for each other for ever; asking costs time.
            if (logs or machine.share[1] == 1) and machine.any(asked.is_set()):
                keep()
                raise machine.alike(KeyboardInterrupt())
            if play.step % journal.save_every == 0 and play.step < stage.steps and not play.exhausted:
                keep()
    if journal.folder is not None and course.last:
        end = play.checkpoint(done, curve=play.step - play.step % journal.log_every)
        del end.facts["seconds"]  # so that equal trainings leave equal bytes
        machine.lead(partial(save_as, journal.folder / "checkpoint" / END, end))
    # After that file, by which a longer training goes on, which would not look here.
    if stage.watch is not None and play.step % stage.look_every:
        play.look()
    curve.write(play.rows())
    play.finish()
    keep(finished=True)
