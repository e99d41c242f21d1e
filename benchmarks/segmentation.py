"""Segmentation with few annotations at one site, of another site's images: Dice against the number of annotated knees.

    python -m benchmarks.segmentation OUT [--only NAME ...] [--annotated 5 10 20] [--seeds 0 1 2] [--split test]
    python -m benchmarks.segmentation OUT --tumours DATA [--only NAME ...]
    python -m benchmarks.segmentation OUT --told

Simulated knees of 96 pixels with bone, cartilage, effusion and marrow lesions. Site X has annotations of 5, 10 or 20
persons; site Y, whose fat suppression does little, has images of 100 other persons and no annotation. `supervised` is
the floor; `ceiling` the same network from all labels of both sites (100 persons each). Dice is the mean over persons
who have the class; distances are the 95th percentile between surfaces, in mm. Each training adds a row to
OUT/rows.jsonl as it ends, and one that is there is not made again. `--tumours`: of six patients one is annotated, four
are not, one is tested, each in turn; slices count there as persons do here. `--told` prints the tables and draws
OUT/dice.png from the rows.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anomaly import Machine
from anomaly.segmenters.base import Segmenter
from anomaly.segmenters.register import SEGMENTERS
from anomaly.statistics.surfaces import apart
from benchmarks.segmentation_figures import told
from benchmarks.segmentation_images import KNEE, Heap, Windows, digits, drawn_by, knees, tumours

CEILING = "ceiling"
METHODS = ("supervised", "mean-teacher", "unimatch", "stylised", CEILING)
ALIKE = {"width": 8, "steps": 800, "batch": 4, "lr": 1e-2}
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    CEILING: {"steps": 2000},
    "stylised": {"before": 200, "drawing": 400, "steps": 600},
}
"""What was chosen on `val`, of each method beside what all have."""
TINY = {"width": 4, "steps": 2, "batch": 2}
TINY_STYLISED = {"before": 2, "drawing": 2}
SIDE = 64


def main() -> None:
    """Train what is missing, a row each; or tell what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--annotated", type=int, nargs="+", default=[5, 10, 20])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--split", choices=("val", "test"), default="test")
    parser.add_argument("--set", nargs="*", default=[], dest="settings", help="NAME=VALUE, of what is trained")
    parser.add_argument("--tumours", type=Path, metavar="DATA", help="folder of patients, in place of knees")
    parser.add_argument("--tiny", action="store_true", help="a few steps, to see that it runs")
    parser.add_argument("--told", action="store_true", help="tables and figure of the rows that are there")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    file = arguments.out / "rows.jsonl"
    if not arguments.told:
        arguments.out.mkdir(parents=True, exist_ok=True)
        asked = of_tumours(arguments) if arguments.tumours else of_knees(arguments)
        for key, parts in asked:
            settings = settings_of(key, arguments)
            key["of"] = digits(settings, drawn_by())
            if not any(same(row, key, settings) for row in rows(file)):
                found = {"key": key, **trained(key, settings, *parts)}
                with file.open("a") as stream:
                    stream.write(json.dumps(found) + "\n")
                print(json.dumps(found), flush=True)
    else:
        told(rows(file), arguments.out / "dice.png", arguments.split)


def rows(file: Path) -> list[dict[str, Any]]:
    """Those that are there."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def same(row: Mapping[str, Any], key: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Whether a row is of this training; rows of before `of` was told are held against the settings they tell."""
    return {**key, **row["key"]} == key and row["settings"] == settings


def settings_of(key: Mapping[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """Of a training."""
    from anomaly.runs.settings import parse_settings

    settings = {**ALIKE, **SETTINGS.get(key["method"], {}), **parse_settings(arguments.settings)}
    tiny = TINY | (TINY_STYLISED if key["method"] == "stylised" else {})
    return settings | tiny if arguments.tiny else settings


Asked = Iterator[tuple[dict[str, Any], tuple[Heap, Heap, dict[str, Heap], tuple[str, ...]]]]


def of_knees(arguments: argparse.Namespace) -> Asked:
    """What is to be trained: (annotated, unlabelled, heaps to judge on, names of classes) by a key."""
    few, folder = arguments.tiny, arguments.out / "images"
    x, y = (knees(folder, site=site, part=part, few=few) for site, part in (("X", "annotated"), ("Y", "unlabelled")))
    judged = {f"site {site}": knees(folder, site=site, part=arguments.split, few=few) for site in ("Y", "X")}
    for seed in arguments.seeds:
        for count in arguments.annotated:
            for method in arguments.only:
                whole = method == CEILING
                if whole and count != arguments.annotated[0]:
                    continue
                chosen = np.random.default_rng(seed).permutation(len(x.x))[:count]
                labelled = x.beside(y) if whole else x.of(chosen)
                key = {
                    "set": "knees", "split": arguments.split, "method": method, "seed": seed,
                    "annotated": len(labelled.x) if whole else count, "set_by_hand": sorted(arguments.settings),
                    "tiny": arguments.tiny,
                }  # fmt: skip
                yield key, (labelled, y, judged, KNEE)


def of_tumours(arguments: argparse.Namespace) -> Asked:
    """Each patient is tested once, with the next of them annotated; the ceiling has all but the one tested."""
    patients = tumours(arguments.tumours)
    for which, tested in enumerate(patients):
        others = [patients[(which + k) % len(patients)] for k in range(1, len(patients))]
        rest = others[1]
        for more in others[2:]:
            rest = rest.beside(more)
        for method in arguments.only:
            labelled = others[0].beside(rest) if method == CEILING else others[0]
            key = {
                "set": "tumours", "split": "test", "method": method, "seed": which,
                "annotated": len(others) if method == CEILING else 1, "set_by_hand": sorted(arguments.settings),
                "tiny": arguments.tiny,
            }  # fmt: skip
            yield key, (labelled, rest, {"patient": tested}, ("tumour",))


def trained(
    key: Mapping[str, Any],
    settings: Mapping[str, Any],
    labelled: Heap,
    others: Heap,
    judged: Mapping[str, Heap],
    names: tuple[str, ...],
) -> dict[str, Any]:
    """One training, and how it did."""
    method = "supervised" if key["method"] == CEILING else key["method"]
    segmenter = SEGMENTERS[method](**settings)
    sources = [
        Windows(heap, side=SIDE, batch=settings["batch"], seed=2 * key["seed"] + k, labels=k == 0)
        for k, heap in enumerate((labelled, others))
    ]
    began, used = time.perf_counter(), time.process_time()
    segmenter.fit(
        sources[0], (1, SIDE, SIDE), len(names) + 1, seed=key["seed"], machine=Machine(device="cpu"),
        unlabelled=sources[1] if segmenter.unlabelled else None,
    )  # fmt: skip
    spent = {"seconds": time.perf_counter() - began, "processor_seconds": time.process_time() - used}
    found = {place: judge(segmenter, heap, names) for place, heap in judged.items()}
    return {"settings": dict(settings), **spent, **found}


def judge(segmenter: Segmenter, heap: Heap, names: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Dice and surface distance of each class, and their means: of all pixels of a person, over persons who have it."""
    x = torch.from_numpy(heap.x)
    found = torch.cat([segmenter.whole(part).argmax(1) for part in x.split(20)]).numpy()
    figures: dict[str, dict[str, float]] = {}
    for k, name in enumerate(names, 1):
        pairs = [(a == k, b == k) for a, b in zip(found, heap.places, strict=True) if (b == k).any()]
        distances = [apart(*pair, (heap.spacing,) * 2).near for pair in pairs]
        # A class that is not found has no surface; how often that is so is told beside.
        figures[name] = {
            "dice": float(np.mean([2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in pairs])),
            "distance": float(np.nanmean(distances)) if np.isfinite(distances).any() else float("nan"),
            "missed": float(np.mean(np.isnan(distances))),
        }
    figures["mean"] = {
        what: float(np.nanmean([figures[name][what] for name in names])) for what in ("dice", "distance", "missed")
    }
    return figures


if __name__ == "__main__":
    main()
