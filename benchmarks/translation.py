"""Translation between two heaps: how near it comes to a truth that is known, and what a step of training costs.

    python -m benchmarks.translation --out OUT [--xrays DATA] [--only xrays knees speed] [--steps 1000] [--seed 0]

xrays: chest X-rays of normal people (DATA/cohort.csv; 64 pixels), one half of them changed by gamma, blur and a shading
from side to side, so that of others, on whom is reported, the true translation is known. knees: simulated knees of two
sites, which differ in contrast, blur, shading and noise, drawn of the same test persons at both. No person is in both
heaps that are learned from. speed: a step in the program's loop beside a bare one.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import torch
from scipy import ndimage

from anomaly import Heaps, Machine, Preprocessing, evaluate_translation, learn_translation
from anomaly.simulation.anatomy import SITES, Lesions, draw_knee
from anomaly.training.batches import Batches, Beside
from anomaly.training.loop import train_stages
from anomaly.translators.cycle import CycleGAN
from benchmarks.ratios import taking_turns

SIDE = 64
RANGE = Preprocessing(size=SIDE, intensity="range")
FINDINGS = ("effusion", "marrow", "thinning", "osteophytes")
KNEES = {"train": 300, "test": 100}
MEASURES = (
    "rmse",
    "ssim",
    "edges_kept",
    "shared_information",
    "changed",
    "structure_by_brightness",
    "judge",
    "frechet",
)
Row = tuple[str, str, np.ndarray, np.ndarray, np.ndarray | None]
"""Part, person, image of "from", the same of "to", and a structure; all (rows, columns) uint8 or bool."""


def main() -> None:
    """Print one line of JSON for each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--xrays", type=Path, help="folder with cohort.csv: subject, label, split, path")
    parser.add_argument("--only", nargs="+", choices=("xrays", "knees", "speed"), default=["knees", "speed"])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--set", nargs="*", default=[], dest="settings", help="NAME=VALUE")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for name in arguments.only:
        found = speed() if name == "speed" else study(name, arguments)
        for row in found:
            print(json.dumps({"measurement": name, **row}), flush=True)


def study(name: str, arguments: argparse.Namespace) -> Iterator[dict[str, object]]:
    """Lay out two heaps with a known truth, learn, and check on other people."""
    from anomaly.runs.settings import parse_settings

    folder = arguments.out / name
    rows = of_xrays(arguments.xrays) if name == "xrays" else of_knees(arguments.seed)
    tables = laid_out(rows, folder)
    settings = {"width": 16, "blocks": 3, "batch": 1, "steps": arguments.steps, **parse_settings(arguments.settings)}
    began, used = time.perf_counter(), time.process_time()
    run = learn_translation(
        Heaps(source=tables["train", "from"], target=tables["train", "to"]), folder / "run", settings=settings,
        preprocessing=RANGE, seed=arguments.seed, machine=Machine(device="cpu"), resume=True,
    )  # fmt: skip
    told = {"seconds": time.perf_counter() - began, "processor_seconds": time.process_time() - used}
    yield {"settings": run.translator.settings(), **told, "held_out": run.facts["held_out"]}
    heaps = Heaps(source=tables["test", "from"], target=tables["test", "to"], mask="none")
    marked = "marked" if name == "knees" else None
    found = evaluate_translation(
        run.folder, heaps, folder / "checked", twin="twin", structure=marked, seed=arguments.seed, device="cpu"
    )
    for each in found.figures:
        if each.measure in MEASURES:
            yield {"measure": each.measure, "of": each.of, "value": each.value, "low": each.low, "high": each.high}
    yield {"sentences": found.sentences}


def of_xrays(data: Path) -> Iterator[Row]:
    """Normal people: those to learn from, and those of the test split; each also as another machine would show it."""
    table = pd.read_csv(data / "cohort.csv", dtype=str)
    table = table[(table["label"] == "0") & table["split"].isin(["train", "test"])].drop_duplicates("subject")
    for row in table.itertuples():
        picture = PIL.Image.open(data / str(row.path)).convert("L").resize((SIDE, SIDE), PIL.Image.Resampling.BOX)
        x = np.asarray(picture, dtype=np.float64) / 255
        yield str(row.split), str(row.subject), stored(x), stored(otherwise(x)), None


def otherwise(x: np.ndarray) -> np.ndarray:
    """An image in [0, 1] as another machine would show it: darker (gamma 1.8), blurred by a pixel, shaded across."""
    down, across = np.linspace(-1, 1, x.shape[0])[:, None], np.linspace(-1, 1, x.shape[1])[None]
    blurred: np.ndarray = ndimage.gaussian_filter(x**1.8, SIDE / 64)
    return blurred * (0.8 + 0.15 * down - 0.2 * across)


def of_knees(seed: int) -> Iterator[Row]:
    """Healthy and worn knees at sites B and C; the structure is cartilage."""
    number = 0
    for part, count in KNEES.items():
        for _ in range(count):
            random = np.random.default_rng([seed, number])
            severe = random.uniform(0, 1, 4) * (random.random(4) < 0.4)
            lesions = Lesions(**dict(zip(FINDINGS, severe.tolist(), strict=True)))
            drawn = [
                draw_knee(
                    lesions,
                    person=number,
                    knee=0,
                    scan=2 * number + k,
                    side="right",
                    site=SITES[1 + k],
                    seed=seed,
                    size=SIDE,
                )
                for k in range(2)
            ]
            # The pose follows the scan, so a truth is drawn of the same scan; its noise then is the same as well.
            twin = draw_knee(
                lesions, person=number, knee=0, scan=2 * number, side="right", site=SITES[2], seed=seed, size=SIDE
            )
            other = twin if part == "test" else drawn[1]
            yield part, f"p{number:04d}", stored(drawn[0].image), stored(other.image), drawn[0].masks["cartilage"]
            number += 1


def stored(x: np.ndarray) -> np.ndarray:
    """Values from 0 to 1 as a picture stores them."""
    return np.rint(x.clip(0, 1) * 255).astype(np.uint8)


def laid_out(rows: Iterator[Row], folder: Path) -> dict[tuple[str, str], pd.DataFrame]:
    """Write images, and say which are of which part and heap: every second person is of "from", the others of "to"."""
    told: dict[tuple[str, str], list[dict[str, str]]] = {}
    for k, (part, person, source, target, marked) in enumerate(rows):
        here = (folder / "images").resolve()
        here.mkdir(parents=True, exist_ok=True)
        paths = {name: str(here / f"{person}_{name}.png") for name in ("from", "to", "marked")}
        heap = "from" if k % 2 == 0 else "to"
        PIL.Image.fromarray(source).save(paths["from"])
        PIL.Image.fromarray(target).save(paths["to"])
        row = {"id": person, "subject": person, "path": paths[heap], "twin": paths["to"]}
        if marked is not None:
            PIL.Image.fromarray(marked).save(paths["marked"])
            row["marked"] = paths["marked"]
        told.setdefault((part, heap), []).append(row)
    return {key: pd.DataFrame(found) for key, found in told.items()}


def speed() -> Iterator[dict[str, object]]:
    """A step by the program's loop beside the same losses in a bare loop, on random images; above 1: ours is faster."""
    steps = 12
    images = torch.rand(32, 1, SIDE, SIDE) * 2 - 1
    games = [CycleGAN(width=16, blocks=3, batch=1, steps=1000) for _ in range(2)]
    for game in games:
        game.make((1, SIDE, SIDE), Machine(device="cpu"), 0)
    batches: Any = Beside(Batches(images, size=1, seed=0), Batches(images, size=1, seed=1))

    def ours() -> float:
        stages = games[0].stages()
        stages[0].steps = steps
        began = time.process_time()
        train_stages(games[0].net_, stages, batches, machine=Machine(device="cpu"))
        return time.process_time() - began

    ratio = taking_turns(ours, lambda: _bare(games[1], batches, steps), pairs=4)
    yield {"bare_over_ours": ratio, "steps": steps}


def _bare(game: CycleGAN, batches: Any, steps: int) -> float:
    began = time.process_time()
    nets = game.net_.train()
    owned = [
        [*nets[a].parameters(), *nets[b].parameters()] for a, b in (("there", "back"), ("critic_from", "critic_to"))
    ]
    adams = [game_adam(parameters) for parameters in owned]
    number = 0
    for _ in range(steps):
        for k, loss in enumerate((game.generators_loss, game.critics_loss)):
            for which, parameters in enumerate(owned):
                for parameter in parameters:
                    parameter.requires_grad_(which == k)
            adams[k].zero_grad(set_to_none=True)
            total, _ = loss(batches[number])
            total.backward()
            adams[k].step()
            number += 1
            total.item()
    return time.process_time() - began


def game_adam(parameters: list[torch.nn.Parameter]) -> torch.optim.Adam:
    """The optimiser of the game."""
    return torch.optim.Adam(parameters, lr=2e-4, betas=(0.5, 0.999))


if __name__ == "__main__":
    main()
