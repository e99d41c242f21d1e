"""AUROC of every detector and head on the public paediatric chest X-rays, with intervals and floors.

Train on the normals of `train`, choose on `val`, report on `test`:

    python -m benchmarks.detection DATA --split test --out OUT [--seeds 0 1 2] [--only NAME ...]

DATA holds `cohort.csv` (path, subject, label, split) and the images. Runs that are already in OUT are not trained
again, so an interrupted call goes on.
"""

import argparse
import json
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly import Machine, learn, score
from anomaly.images.preprocessing import Preprocessing
from anomaly.statistics import auroc_interval, compare_aurocs, proportion

CONFIGURATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "intensity": ("intensity", {}),
    "mean-image": ("mean-image", {}),
    "pca": ("pca", {}),
    "autoencoder": ("autoencoder", {}),
    "autoencoder-ssim": ("autoencoder", {"objective": "ssim", "latent": 4}),
    "autoencoder-l2": ("autoencoder", {"objective": "l2"}),
    "autoencoder-uncertainty": ("autoencoder", {"objective": "uncertainty"}),
    "vae": ("vae", {}),
}

# Sizes that two cores train in under an hour: of the published ones a fifth of the width, a quarter of the batch, two
# turns of the critic for five, a seventh of the steps.
LONG: dict[str, tuple[str, dict[str, Any]]] = {
    "fanogan": (
        "fanogan",
        {
            "width": 12, "latent": 64, "batch": 16, "critic_turns": 2, "lr": 2e-4, "steps": 3000, "encoder_steps": 3000,
        },
    ),
    "alphagan": ("alphagan", {"width": 16, "latent": 64, "hidden": 512, "batch": 16, "steps": 3000}),
}  # fmt: skip
"""Run only when named: `--only fanogan --precision bf16`."""


def main() -> None:
    """Run what is asked for and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", choices=("val", "test"), default="test")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", help="names of configurations")
    parser.add_argument("--method", help="one configuration of your own, with --set")
    parser.add_argument("--set", nargs="*", default=[], dest="settings")
    parser.add_argument("--intensity", default="percentile")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="32")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    chosen = {name: {**CONFIGURATIONS, **LONG}[name] for name in arguments.only or CONFIGURATIONS}
    if arguments.method:
        from anomaly.runs.settings import parse_settings

        name = " ".join([arguments.method, *arguments.settings])
        chosen = {name: (arguments.method, parse_settings(arguments.settings))}
    rows = []
    for name, (method, settings) in chosen.items():
        tables = [one(name, method, settings, seed, arguments) for seed in arguments.seeds]
        rows += summarise(name, tables)
        print(pd.DataFrame(rows).to_markdown(index=False) if _has_tabulate() else pd.DataFrame(rows).to_string())


def one(name: str, method: str, settings: dict[str, Any], seed: int, arguments: argparse.Namespace) -> pd.DataFrame:
    """Scores of one training, joined to the labels; trains and scores only what is not there."""
    cohort = arguments.data / "cohort.csv"
    place = arguments.out / f"{name.replace(' ', ',')}-{arguments.intensity}-{arguments.size}-seed{seed}"
    begun = time.perf_counter()
    fresh = not (place / "run" / "run.json").exists()
    learn(
        cohort, place / "run", method=method, settings=settings, where={"split": "train", "label": "0"},
        preprocessing=Preprocessing(intensity=arguments.intensity, size=arguments.size), seed=seed,
        machine=Machine(device=arguments.device, precision=arguments.precision), resume=True,
    )  # fmt: skip
    if fresh:
        (place / "seconds.json").write_text(json.dumps(time.perf_counter() - begun))
    scored = score(place / "run", cohort, place / arguments.split, where={"split": arguments.split}, heatmaps=("none",))
    truth = pd.read_csv(cohort, dtype={"subject": str})
    truth["path"] = [str((cohort.parent / path).resolve()) for path in truth["path"]]
    table = pd.read_csv(scored.path, dtype={"id": str, "subject": str}).merge(truth[["path", "label"]], on="path")
    return table.assign(seconds=json.loads((place / "seconds.json").read_text()))


def summarise(name: str, tables: list[pd.DataFrame]) -> list[dict[str, Any]]:
    """A row for each score: mean AUROC over seeds, all of them, the first one's interval clustered by subject."""
    first = tables[0]
    heads = [str(column) for column in first if str(column).startswith("value")]
    rows = []
    for head in heads:
        areas = [auroc_interval(t["label"], t[head], t["subject"]).value for t in tables]
        interval = auroc_interval(first["label"], first[head], first["subject"], scale="logit")
        row = {
            "detector": name, "score": head.removeprefix("value_"), "AUROC": round(float(np.mean(areas)), 3),
            "seeds": " ".join(f"{area:.3f}" for area in areas),
            "95 % of the first": f"{interval.low:.3f}-{interval.high:.3f}",
            "against mean image": "", "normals flagged": "", "minutes": "",
        }  # fmt: skip
        if head == "value":
            floor = compare_aurocs(first["label"], first[head], first["baseline_mean_image"], first["subject"])
            row["against mean image"] = f"{floor.difference:+.3f} ({floor.low:+.3f} to {floor.high:+.3f})"
            row["normals flagged"] = ", ".join(_flagged(t) for t in tables)
            row["minutes"] = f"{np.mean([t['seconds'].iloc[0] for t in tables]) / 60:.1f}"
        rows.append(row)
    return rows


def _flagged(table: pd.DataFrame) -> str:
    normal = table[table["label"] == 0]
    share = proportion(normal["flagged"], normal["subject"])
    return f"{share.value:.1%} of {len(normal)} ({share.low:.1%}-{share.high:.1%})"


def _has_tabulate() -> bool:
    import importlib.util

    return importlib.util.find_spec("tabulate") is not None


if __name__ == "__main__":
    main()
