"""Stylised: its three stages, that drawings are made of labelled windows alone, masks, volumes, and going on."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from anomaly.errors import AnomalyError
from anomaly.nets.within import within
from anomaly.segmenters.base import Both
from anomaly.segmenters.losses import dice_and_entropy
from anomaly.segmenters.stylised import Stylised
from anomaly.training.journal import Journal
from anomaly.training.machine import Machine

CPU = Machine(device="cpu")
TINY = {
    "width": 4, "levels": 2, "steps": 3, "before": 3, "drawing": 3, "batch": 2, "pairs": 1, "generator": 2, "blocks": 1,
    "critic_width": 2, "halved": 0, "augment": "none",
}  # fmt: skip


class Discs:
    """Bright discs on dark ground, or dark ones on bright: batch k of windows, with places where asked for."""

    def __init__(self, *, dark: bool, labels: bool, space: tuple[int, ...] = (16, 16), masked: bool = False) -> None:
        self.dark, self.labels, self.space, self.masked = dark, labels, space, masked

    def __getitem__(self, k: int) -> tuple[Tensor, Tensor] | Tensor:
        random = torch.Generator().manual_seed(2 * k + self.dark)
        axes = torch.meshgrid(*[torch.arange(side).float() for side in self.space], indexing="ij")
        middles = 4 + (min(self.space) - 8) * torch.rand(2, len(self.space), generator=random)
        apart = [sum((axis - m).square() for axis, m in zip(axes, middle, strict=True)) for middle in middles]
        places = (torch.stack([torch.as_tensor(each) for each in apart]) < 9).long()
        x = (places.float() - 0.5) * (-1 if self.dark else 1)
        x = (x + 0.1 * torch.randn(x.shape, generator=random))[:, None]
        if self.masked:
            x[..., :3] = -1
            places[..., :3] = 0
        return (x, places) if self.labels else x


def sources(**kw: object) -> tuple[Discs, Discs]:
    return Discs(dark=False, labels=True, **kw), Discs(dark=True, labels=False, **kw)  # type: ignore[arg-type]


@pytest.mark.parametrize("space", [(16, 16), (12, 13, 14)])
@pytest.mark.parametrize("features", [0.0, 0.1])
def test_it_keeps_a_segmenter_alone_in_two_and_three_dimensions(
    space: tuple[int, ...], features: float, tmp_path: Path
) -> None:
    labelled, others = sources(space=space)
    learned = Stylised(**TINY, features=features).fit(labelled, (1, *space), 2, unlabelled=others, machine=CPU)
    assert {name.split(".")[0] for name in learned.net_.state_dict()} == {"student", "classes"}
    x = others[0]
    assert isinstance(x, Tensor)
    shares = learned.probabilities(x)
    torch.testing.assert_close(shares.sum(1), torch.ones(2, *space))
    learned.save(tmp_path / "learned.safetensors")
    torch.testing.assert_close(Stylised.load(tmp_path / "learned.safetensors").probabilities(x), shares)


def test_without_unlabelled_images_it_says_so() -> None:
    with pytest.raises(AnomalyError, match="--unlabelled"):
        Stylised(**TINY).fit(sources()[0], (1, 16, 16), 2, machine=CPU)


def test_the_task_is_what_the_segmenter_finds_in_drawings_against_labels_and_what_it_found() -> None:
    learned = made(task=2.0)
    (x, places), y = (source[0] for source in sources())
    to, of = learned.styling.drawn(x), learned.styling.drawn(y, back=True)
    said = learned.net_["student"].eval()
    expected = dice_and_entropy(said(to), places) + dice_and_entropy(said(of), said(y).argmax(1))
    loss, terms = learned.styling.generators_loss(((x, places), y))
    torch.testing.assert_close(terms["task"], expected)
    rest = terms["adversarial"] + learned.cycle * terms["cycle"]
    torch.testing.assert_close(loss, rest + 2 * terms["task"])
    assert "task" not in made(task=0.0).styling.generators_loss(((x, places), y))[1]


def made(**kw: float) -> Stylised:
    learned = Stylised(**TINY | kw)
    learned.classes_ = 2
    learned.make((1, 16, 16), CPU, 0)
    learned.stages()
    for parameter in learned.net_["styling"]["there"].parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return learned


def test_a_share_of_labelled_windows_is_drawn_and_the_rest_left() -> None:
    learned = made(drawn=0.5)
    x, _ = sources()[0][0]
    assert isinstance(x, Tensor)
    torch.manual_seed(0)
    seen = set()
    for one in x.split(1) * 10:  # by chance also where there is one window alone
        drawn, after = learned.restyled(one), learned.styling.drawn(one).clamp(-1, 1)
        seen.add(torch.equal(drawn, one))
        assert torch.equal(drawn, one) or torch.allclose(drawn, after)
    assert seen == {True, False}
    assert torch.equal(made(drawn=0.0).restyled(x), x)
    every = made(drawn=1.0)
    torch.testing.assert_close(every.restyled(x), every.styling.drawn(x).clamp(-1, 1))


def test_drawing_is_learned_from_windows_that_do_not_seek_what_is_marked() -> None:
    labelled, others = sources()
    fed: dict[str, list[bool]] = {}

    class Seeking(Discs):
        anywhere = labelled

    seeking = Seeking(dark=False, labels=True)
    learned = made()
    stages = learned.stages()
    learned.feed(stages, Both(seeking.anywhere, others))
    assert [stage.batches is not None for stage in stages] == [False, True, False]

    def spied(self: Discs, k: int) -> tuple[Tensor, Tensor] | Tensor:
        fed.setdefault(type(self).__name__ + "x" * self.dark, []).append(True)
        return source(self, k)

    source = Discs.__getitem__
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Discs, "__getitem__", spied)
        Stylised(**TINY).fit(seeking, (1, 16, 16), 2, unlabelled=others, machine=CPU)
    # Three steps before, three of two players in between, three after.
    assert {name: len(each) for name, each in fed.items()} == {"Seeking": 6, "Discs": 6, "Discsx": 12}


def test_what_lies_outside_a_mask_stays_black_in_drawings() -> None:
    labelled, others = sources(masked=True)
    learned = Stylised(**TINY)
    learned.masked_ = True
    learned.fit(labelled, (1, 16, 16), 2, unlabelled=others, machine=CPU)
    again = made()
    again.styling.masked_ = True
    (x, _) = labelled[0]
    assert torch.equal(within(again.restyled(x)), within(x))


def test_the_segmenter_stands_still_while_drawings_are_learned() -> None:
    learned = made()
    names = [stage.name for stage in learned.stages()]
    assert names == ["before", "draw", "segment"]
    owned = [id(p) for player in learned.stages()[1].players for p in player.parameters()]
    assert not {id(p) for p in learned.net_["student"].parameters()} & set(owned)


def test_a_training_that_was_stopped_while_drawing_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    labelled, others = sources()
    whole = Stylised(**TINY).fit(labelled, (1, 16, 16), 2, unlabelled=others, machine=CPU, seed=1)

    class Stopped(Discs):
        def __getitem__(self, k: int) -> tuple[Tensor, Tensor] | Tensor:
            if stopping and k == 4 and any((tmp_path / "checkpoint").glob("*")):
                raise KeyboardInterrupt
            return super().__getitem__(k)

    stopping = True
    journal = Journal(folder=tmp_path, save_every=1, resume=True)
    with pytest.raises(KeyboardInterrupt):
        Stylised(**TINY).fit(
            labelled, (1, 16, 16), 2, unlabelled=Stopped(dark=True, labels=False), machine=CPU, seed=1, journal=journal
        )
    stopping = False
    again = Stylised(**TINY).fit(labelled, (1, 16, 16), 2, unlabelled=others, machine=CPU, seed=1, journal=journal)
    for one, other in zip(whole.net_.parameters(), again.net_.parameters(), strict=True):
        assert torch.equal(one, other)


def test_drawings_take_on_the_brightness_of_the_others_and_keep_the_discs() -> None:
    labelled, others = sources()
    settings = {**TINY, "before": 30, "drawing": 60, "steps": 1, "generator": 8, "critic_width": 8, "lr": 1e-2}
    learned = Stylised(**settings)
    learned.classes_ = 2
    learned.make((1, 16, 16), CPU, 0)
    learned.play(learned.stages()[:2], Both(labelled, others), machine=CPU, seed=0, journal=None)
    (x, places) = labelled[100]
    before, after = (float((each.argmax(1) == places).float().mean()) for each in (
        learned.logits(x), learned.logits(learned.styling.drawn(x)),
    ))  # fmt: skip
    assert before > 0.95
    assert after > 0.9
    assert float((learned.styling.drawn(x) - x).abs().mean().detach()) > 0.02
