"""Whether lesions that were painted in are of their class, and what was painted out is normal: an independent judge."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anomaly.images.pictures import write_png
from anomaly.painters.lesions import NORMAL, Holes
from anomaly.painters.lesions_judge import LesionJudge
from anomaly.pictures import heatmaps
from anomaly.runs.previews import EDGES, flat_pictures
from anomaly.statistics import proportion
from anomaly.training.machine import Machine
from anomaly.translation.figures import Figure, mean_of_subjects
from explain.painting.cards import holes_of
from explain.painting.floors import FLOORS, laplace, local_mean, pasted, smooth
from explain.painting.keeping import Kept
from explain.painting.run import PainterRun
from explain.painting.windows import LesionWindows

JUDGE, ASKED = "judge", "asked"
MOST, PART, DRAWS, SHOWN = 400, 16, 4, 8
PAINTED, REAL, PASTED, UNCHANGED, CHANCE = "painted", "real", "copy-paste", "unchanged", "chance"
FLOORS_HERE = {"smooth": smooth, "local mean": local_mean}


@dataclass(frozen=True)
class Asked:
    """Windows of persons that neither the painter nor the judge has seen.

    Args:
        lesions, whose: real lesions, and of which subject each is.
        normals, others: holes in normal tissue, and of which subject each is.
    """

    lesions: Holes
    whose: np.ndarray
    normals: Holes
    others: np.ndarray


def windows_asked(run: PainterRun, kept: Kept, seed: int) -> Asked:
    """Windows of the persons asked: each lesion once, and as many normal holes, at most `MOST` of either."""
    source = _windows(run, kept, ASKED, PART, seed)
    lesions = [(place, item) for place, items in source.lesions.items() for item in items]
    rng = np.random.default_rng(seed)
    chosen = [lesions[k] for k in np.sort(rng.permutation(len(lesions))[:MOST])]
    found = [source.centred(rng, place, item) for place, item in chosen]
    others = [source.centred(rng, place, None) for place, _ in chosen]
    subjects = kept.table["subject"].to_numpy()
    ours, theirs = (source.joined([window for window, _ in each]) for each in (found, others))
    whose, of_others = (np.array([subjects[row] for _, row in each]) for each in (found, others))
    return Asked(ours, whose, theirs, of_others)


def trained_judge(run: PainterRun, kept: Kept, steps: int, seed: int, device: str) -> LesionJudge:
    """A classifier that learned from persons whom the painter has not seen and who are not asked about."""
    judge = LesionJudge(steps=steps)
    source = _windows(run, kept, JUDGE, judge.batch, seed, even=True)
    return judge.fit(source, run.painter.shape_, 1 + len(run.names), machine=Machine(device=device), seed=seed)


def agreement(run: PainterRun, judge: LesionJudge, asked: Asked, seed: int) -> list[Figure]:
    """Share that the judge takes for what was asked for: painted in elsewhere, in place, as another class, and out."""
    figures: list[Figure] = []
    lesions, normals = asked.lesions, asked.normals

    def told(measure: str, of: str, x: Tensor, hole: Tensor, wanted: Tensor, whose: np.ndarray, note: str = "") -> None:
        right = (judge.logits(x, hole).argmax(1) == wanted).double().numpy()
        share = proportion(right, whose)
        figures.append(
            Figure(measure, of, share.value, share.low, share.high, len(right), len(np.unique(whose)), note)
        )  # fmt: skip

    chance = Figure("painted_in", CHANCE, 1 / (1 + len(run.names)), note="of the classes and normal tissue, by lot")
    figures.append(chance)
    told("painted_in", REAL, lesions.x, lesions.hole, lesions.classes, asked.whose, "real lesions of persons not seen")
    there = Holes(normals.x, lesions.hole, lesions.classes, normals.tissues)  # lesions' outlines in normal images
    there = there._replace(tissues=_hidden(there))
    ways: dict[str, Tensor] = {PAINTED: painted(run, there, seed), PASTED: pasted(normals, lesions)}
    ways |= {name: fill(there) for name, fill in FLOORS_HERE.items()} | {UNCHANGED: there.x}
    for name, x in ways.items():
        told("painted_in", name, x, there.hole, there.classes, asked.others)
    told("in_place", REAL, lesions.x, lesions.hole, lesions.classes, asked.whose)
    told("in_place", PAINTED, painted(run, lesions, seed), lesions.hole, lesions.classes, asked.whose)
    if len(run.names) > 1:
        other = lesions._replace(classes=lesions.classes % len(run.names) + 1)
        told("as_another_class", PAINTED, painted(run, other, seed), other.hole, other.classes, asked.whose)
    for place, name in enumerate(run.names, 1):
        rows = (lesions.classes == place).numpy()
        for of, x, whose in ((REAL, lesions.x, asked.whose), (PAINTED, ways[PAINTED], asked.others)):
            if rows.any():
                told(f"painted_in_{name}", of, x[rows], lesions.hole[rows], lesions.classes[rows], whose[rows])
    out = lesions._replace(classes=torch.full_like(lesions.classes, NORMAL))
    told("painted_out", REAL, normals.x, normals.hole, normals.classes, asked.others, "real normal tissue")
    gone = {PAINTED: painted(run, out, seed)} | {name: fill(out) for name, fill in FLOORS_HERE.items()}
    for name, x in {**gone, UNCHANGED: lesions.x}.items():
        told("painted_out", name, x, out.hole, out.classes, asked.whose)
    return figures


def known_tissue(run: PainterRun, asked: Asked, seed: int) -> list[Figure]:
    """How far normal tissue is off that was hidden and painted, mean absolute difference of a range of 2."""
    holes = asked.normals
    draws = torch.stack([painted(run, holes, seed, f"draw {k}") for k in range(DRAWS)])
    found = {PAINTED: draws[0], f"mean of {DRAWS}": draws.mean(0)} | {
        name: fill(holes) for name, fill in FLOORS.items()
    }
    figures = [
        mean_of_subjects("normal_off", name, off(x, holes.x, holes.hole), asked.others) for name, x in found.items()
    ]
    grain = {**found, REAL: holes.x}
    figures += [
        mean_of_subjects("normal_grain", name, _grain(x, holes.hole), asked.others, "mean step between neighbours")
        for name, x in grain.items()
    ]
    apart = off(draws[0], draws[1], holes.hole)
    return [*figures, mean_of_subjects("draws_apart", PAINTED, apart, asked.others)]


def painted(run: PainterRun, holes: Holes, seed: int, told: str = "") -> Tensor:
    """One painting of each hole."""
    parts = []
    for start in range(0, len(holes.x), PART):
        part = holes_of(holes, slice(start, start + PART))
        parts.append(run.painter.paint(part, [f"{told} {start + k}" for k in range(len(part.x))], 1, seed)[0])
    return torch.cat(parts)


def off(x: Tensor, true: Tensor, hole: Tensor) -> np.ndarray:
    """Mean absolute difference (n,) inside of holes."""
    size = hole.flatten(1).sum(1).clamp_min(1) * x.shape[1]
    found: np.ndarray = (torch.where(hole, (x - true).abs(), 0).flatten(1).sum(1) / size).numpy().astype(float)
    return found


def _grain(x: Tensor, hole: Tensor) -> np.ndarray:
    """Mean absolute step (n,) between neighbours that both lie in a hole: how smooth it is."""
    total, count = torch.zeros(len(x)), torch.zeros(len(x))
    for axis in range(2, x.ndim):
        both = hole.narrow(axis, 1, hole.shape[axis] - 1) & hole.narrow(axis, 0, hole.shape[axis] - 1)
        total += torch.where(both, x.diff(dim=axis).abs(), 0).flatten(1).sum(1)
        count += both.flatten(1).sum(1) * x.shape[1]
    return (total / count.clamp_min(1)).numpy().astype(float)


def _hidden(holes: Holes) -> Tensor:
    return holes.tissues * (~holes.hole)


def _windows(run: PainterRun, kept: Kept, part: str, size: int, seed: int, *, even: bool = False) -> LesionWindows:
    tissues = 0 if run.tissues is None else len(run.tissues.names)
    return LesionWindows(
        kept, part, 1 + len(run.names), tissues, size=size, window=run.window, seed=seed, even=even, near=1.0,
        names=run.names, flips=even,
    )  # fmt: skip


def preview(run: PainterRun, asked: Asked, path: Path, seed: int, *, turned: bool = False) -> None:
    """Write a sheet: real lesions, painted out, painted as each class; normal tissue, and lesions painted into it."""
    step = max(1, len(asked.lesions.x) // SHOWN)
    chosen = slice(0, SHOWN * step, step)
    lesions, normals = holes_of(asked.lesions, chosen), holes_of(asked.normals, chosen)
    rows = {"real lesions": lesions.x, "hole": torch.where(lesions.hole, -1.0, lesions.x)}
    for place, name in enumerate(("normal", *run.names)):
        rows[f"as {name}"] = painted(run, lesions._replace(classes=torch.full_like(lesions.classes, place)), seed)
    rows["normal tissue"] = normals.x
    for place, name in enumerate(run.names, 1):
        there = normals._replace(hole=lesions.hole, classes=torch.full_like(lesions.classes, place))
        rows[f"{name} painted in"] = painted(run, there._replace(tissues=_hidden(there)), seed)
    rows["smoothest filling"] = laplace(normals._replace(hole=lesions.hole))
    shown = [
        [heatmaps.grey(one, EDGES) for one in flat_pictures(each.numpy(), turned or each.ndim == 5)]
        for each in rows.values()
    ]
    title = "persons that the painter has not seen"
    write_png(path, heatmaps.sheet(heatmaps.filled(shown), list(rows), title=title, bar=False))
