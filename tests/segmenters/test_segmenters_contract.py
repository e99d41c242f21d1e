"""What every segmenter promises: shares, seeds, files, resuming, masks, 2D and 3D, refusals."""

from pathlib import Path
from typing import Any

import pytest
import torch

from anomaly.errors import AnomalyError
from anomaly.segmenters.register import SEGMENTERS
from anomaly.segmenters.supervised import Supervised
from anomaly.training.journal import Journal
from tests.squares_marked import CPU, SPACES, TINY, Squares, fitted, squares

OWN: dict[str, dict[str, Any]] = {
    "stylised": {"before": 3, "drawing": 3, "pairs": 1, "generator": 2, "blocks": 1, "critic_width": 2, "halved": 0}
}
"""Settings of a method's own that make it small."""
NAMES = sorted(SEGMENTERS)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dims", [2, 3])
def test_same_seed_same_shares_and_a_file_says_all(tmp_path: Path, name: str, dims: int) -> None:
    first, second, other = (fitted(name, dims, seed=seed, **OWN.get(name, {})) for seed in (0, 0, 1))
    x, _ = squares(3, tuple(side + 5 for side in SPACES[dims]), 9)
    shares = first.probabilities(x)
    assert shares.shape == (3, 3, *x.shape[2:])
    assert torch.allclose(shares.sum(1), torch.ones(3, *x.shape[2:]), atol=1e-5)
    assert torch.equal(shares, second.probabilities(x))
    assert not torch.equal(shares, other.probabilities(x))
    assert torch.allclose(shares[1:2], first.probabilities(x[1:2]), atol=1e-5)  # no image depends on its batch
    first.save(tmp_path / "weights.safetensors")
    kept = SEGMENTERS[name].load(tmp_path / "weights.safetensors")
    assert kept.classes_ == 3
    assert torch.equal(kept.probabilities(x), shares)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("held_out", [False, True])
def test_a_resumed_training_ends_with_the_same_weights(
    tmp_path: Path, name: str, held_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = {"held_out": [tuple(each[:1] for each in squares(1, (20, 24), 7))] if held_out else ()}

    def weights(folder: str, **settings: Any) -> dict[str, torch.Tensor]:
        journal = Journal(folder=tmp_path / folder, save_every=2, resume="stops" not in settings)
        stops = settings.pop("stops", None)
        source = Squares.__getitem__

        def stopping(self: Squares, k: int) -> Any:
            if stops is not None and k == stops:
                raise KeyboardInterrupt
            return source(self, k)

        with monkeypatch.context() as patched:
            patched.setattr(Squares, "__getitem__", stopping)
            segmenter = fitted(name, journal=journal, **{**OWN.get(name, {}), "steps": 6, **watched})
        return {each: tensor.clone() for each, tensor in segmenter.net_.state_dict().items()}

    straight = weights("straight")
    with pytest.raises(KeyboardInterrupt):
        weights("cut", stops=3)
    resumed = weights("cut")
    assert straight.keys() == resumed.keys()
    assert all(torch.equal(straight[each], resumed[each]) for each in straight)


@pytest.mark.parametrize("name", NAMES)
def test_what_lies_outside_a_mask_is_background_and_is_not_learned_from(name: str) -> None:
    segmenter = fitted(name, masked=True, **OWN.get(name, {}))
    x, _ = Squares(2, masked=True)[50]
    shares = segmenter.probabilities(x)
    assert (shares[:, 0, :3] == 1).all()
    assert (shares[:, 1:, :3] == 0).all()
    assert (shares[:, 1:, 3:] > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_it_finds_squares(name: str) -> None:
    size = {"width": 8, "steps": 150, "batch": 4, "augment": "weak"}
    segmenter = fitted(name, **{**OWN.get(name, {}), **size})
    assert float(segmenter.missed([squares(8, (20, 24), 999)])) < 0.1


@pytest.mark.parametrize("name", NAMES)
def test_what_is_missing_is_named(name: str) -> None:
    cls = SEGMENTERS[name]
    with pytest.raises(AnomalyError, match="has learned nothing yet"):
        cls().probabilities(torch.zeros(1, 1, 8, 8))
    with pytest.raises(AnomalyError, match="expected the background and a class or more, got 1"):
        cls().fit(Squares(), (1, 20, 24), 1, unlabelled=Squares(labelled=False), machine=CPU)
    with pytest.raises(AnomalyError, match=r"images have shape \(1, 2, 8, 8\), the segmenter was fitted on 1 channels"):
        fitted(name, **{**OWN.get(name, {}), "steps": 1}).probabilities(torch.zeros(1, 2, 8, 8))
    if cls.unlabelled:
        with pytest.raises(AnomalyError, match=f"{name} learns from images without label maps as well"):
            cls().fit(Squares(), (1, 20, 24), 3, machine=CPU)


def test_missed_counts_pixels_of_images_of_any_size_and_only_classes_that_are_there() -> None:
    segmenter = fitted("supervised", steps=1)
    said = {}

    def told(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(said[tuple(x.shape[2:])], 3).movedim(-1, 1).float()

    segmenter.probabilities = told  # type: ignore[method-assign]
    small, large = torch.zeros(1, 4, 4, dtype=torch.int64), torch.zeros(1, 6, 5, dtype=torch.int64)
    truth_small, truth_large = small.clone(), large.clone()
    truth_small[0, 0, :2], truth_large[0, 0, :4] = 1, 1
    said[4, 4], said[6, 5] = small.clone(), large.clone()
    said[4, 4][0, 0, :2], said[6, 5][0, 0, 2:5] = 1, 1
    said[6, 5][0, 3, 0] = 2  # of a class that no image has
    held_out = [(torch.zeros(1, 1, 4, 4), truth_small), (torch.zeros(1, 1, 6, 5), truth_large)]
    assert float(segmenter.missed(held_out)) == pytest.approx(1 - 2 * (2 + 2) / (2 + 2 + 4 + 3))


def test_held_out_images_without_a_class_are_not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be said by them; the last weights are kept, not the first ones."""
    looks: list[int] = []
    monkeypatch.setattr(Supervised, "missed", lambda self, held_out: torch.tensor(float(looks.append(1) or len(looks))))
    empty = (torch.zeros(1, 1, 20, 24), torch.zeros(1, 20, 24, dtype=torch.int64))
    alone, beside = fitted("supervised"), fitted("supervised", held_out=[empty])
    x, _ = squares(1, (20, 24), 3)
    assert not looks
    assert torch.equal(alone.probabilities(x), beside.probabilities(x))
    watched = fitted("supervised", held_out=[empty, squares(1, (20, 24), 7)])
    assert len(looks) == TINY["steps"]
    assert not torch.equal(alone.probabilities(x), watched.probabilities(x))  # the first look was the best


@pytest.mark.parametrize(("steps", "looks"), [(3, [1, 2, 3]), (11, [2, 4, 6, 8, 10, 11])])
def test_short_trainings_choose_among_several_weights_the_last_among_them(
    steps: int, looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps_seen: list[int] = []
    moves: list[int] = []
    loss = Supervised.loss

    def counted(self: Supervised, batch: Any) -> Any:
        moves.append(1)
        return loss(self, batch)

    def missed(self: Supervised, held_out: Any) -> torch.Tensor:
        steps_seen.append(len(moves))
        return torch.tensor(1.0)

    monkeypatch.setattr(Supervised, "loss", counted)
    monkeypatch.setattr(Supervised, "missed", missed)
    fitted("supervised", steps=steps, held_out=[squares(1, (20, 24), 7)])
    assert steps_seen == looks


def test_whole_images_go_by_windows_of_the_size_that_was_learned_from() -> None:
    segmenter, seen = fitted("supervised", steps=1), set()
    asked = segmenter.probabilities

    def watched(x: torch.Tensor) -> torch.Tensor:
        seen.add(tuple(x.shape[2:]))
        return asked(x)

    segmenter.probabilities = watched  # type: ignore[method-assign]
    x, _ = squares(2, (50, 60), 4)
    shares = segmenter.whole(x)
    assert shares.shape == (2, 3, 50, 60)
    assert torch.allclose(shares.sum(1), torch.ones(2, 50, 60), atol=1e-5)
    assert max(seen) == (20, 24)
    assert all(sides[0] <= 20 and sides[1] <= 24 for sides in seen)
    with pytest.raises(AnomalyError, match="fitted on 1 channels"):
        segmenter.whole(torch.zeros(1, 3, 50, 60))
