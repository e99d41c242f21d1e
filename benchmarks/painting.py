"""How well lesions are painted in and out: the table of docs/methods/lesion-painter.md.

    python -m benchmarks.painting DATA --out OUT [--only chest knees] [--seed 0] [--steps N] [--device auto]

Of the normal chest radiographs of DATA (`chest_xray/cohort.csv`: path, subject, label) six in ten get a simulated
lesion of one of two classes, bright blobs and dark spheres; knees are simulated with their twins. A painter learns from
some persons, and `anomaly paint evaluate` judges it by the others. What is in OUT is taken as it is, and a stopped
training goes on: call it again. Another seed, or other steps, wants another OUT.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd

from anomaly.files import write_whole
from anomaly.images.labels import Labels
from anomaly.images.preprocessing import Preprocessing
from anomaly.simulation.knees import simulate_knees
from anomaly.simulation.lesions import simulate_lesions
from anomaly.training.machine import Machine
from benchmarks.coverage import heading, line
from explain.painting.cohort import Lesions
from explain.painting.evaluating import evaluate_painter
from explain.painting.learning import learn_painter

PERSONS = 400
KINDS: dict[str, dict[str, str]] = {
    "dense": {"kind": "blob", "polarity": "bright"}, "lucent": {"kind": "sphere", "polarity": "dark"},
}  # fmt: skip
KNEES = 150
LEARN = 0.64
CHEST: dict[str, Any] = {"steps": 900, "width": 12, "critic_width": 16, "lr": 6e-4}
KNEE: dict[str, Any] = {"steps": 420, "width": 12, "critic_width": 16, "lr": 8e-4, "window": 48, "batch": 6}


def main() -> None:
    """Make what is missing, and print a table for each set in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("benchmark_out/painting"))
    parser.add_argument("--only", nargs="+", choices=("chest", "knees"), default=("chest", "knees"))
    parser.add_argument("--persons", type=int, default=None, help="fewer than usual, to try it")
    parser.add_argument("--steps", type=int, default=None, help="of every training, fewer than usual, to try it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    asked = parser.parse_args()
    for name in asked.only:
        tell(name, measured(name, asked))


def measured(name: str, asked: argparse.Namespace) -> dict[str, Any]:
    """The figures of one set: as kept, or made now."""
    out, file = asked.out / name, asked.out / f"{name}.json"
    settings = {**(CHEST if name == "chest" else KNEE), **({} if asked.steps is None else {"steps": asked.steps})}
    told = {"seed": asked.seed, "settings": settings, "persons": asked.persons}
    if file.exists():
        kept: dict[str, Any] = json.loads(file.read_text())
        if kept["asked"] != told:
            raise SystemExit(f"{file} holds figures of {kept['asked']}, not of {told}; give another --out")
        return kept
    make = chest if name == "chest" else knees
    learn, judge = parts(make(asked), out)
    lesions = Lesions(given="mask", column="kind")
    if name == "knees":  # sums of flags: an effusion or a marrow lesion, with and without osteophytes
        lesions = Lesions(given="masks", classes=Labels.asked("effusion=1+5+9,marrow=2+6"))
    run = learn_painter(
        learn, out / "run", lesions, settings=settings, preprocessing=Preprocessing(intensity="range"),
        seed=asked.seed, machine=Machine(device=asked.device), resume=True, save_every=100,
    )  # fmt: skip
    steps = {"judge_steps": 300, "segment_steps": 250} if asked.steps is None else {
        "judge_steps": asked.steps, "segment_steps": asked.steps,
    }  # fmt: skip
    found = evaluate_painter(
        run.folder, judge, str(lesions.given), out / "judged", twin="twin" if name == "knees" else None,
        segment=name == "chest", seed=asked.seed, device=asked.device, **steps,
    )  # fmt: skip
    table = pd.read_csv(found.path).astype(object)
    figures = table.where(table.notna(), None).to_dict("records")
    kept = {"asked": told, "counts": run.facts["counts"], "figures": figures, "sentences": found.sentences}
    write_whole(file, json.dumps(kept, indent=1))
    return kept


def chest(asked: argparse.Namespace) -> pd.DataFrame:
    """Normal radiographs, a person each; half of the persons get lesions of either class, a share of them."""
    source = asked.data / "chest_xray"
    table = pd.read_csv(source / "cohort.csv", dtype={"subject": str})
    table = table[table["label"] == 0].drop_duplicates("subject").head(asked.persons or PERSONS)
    table = table.assign(path=[str((source / path).resolve()) for path in table["path"]])[["path", "subject"]]
    found = []
    for k, (name, kind) in enumerate(KINDS.items()):
        folder = asked.out / "chest" / name
        write_whole(folder.with_suffix(".csv"), table.iloc[k::2].to_csv(index=False))
        made = simulate_lesions(
            folder.with_suffix(".csv"), folder, radius=(4.0, 8.0), contrast=(1.0, 2.5), share=0.6, seed=1 + asked.seed,
            **kind,  # type: ignore[arg-type]
        )  # fmt: skip
        rows = pd.read_csv(made, dtype={"id": str, "subject": str}, keep_default_na=False)
        rows["kind"] = [name if int(simulated) else "" for simulated in rows["simulated"]]
        rows["id"] = [f"{name}-{each}" for each in rows["id"]]
        for column in ("path", "mask"):
            rows[column] = [str((folder / each).resolve()) if each else "" for each in rows[column]]
        found.append(rows[["id", "path", "subject", "mask", "kind"]])
    return pd.concat(found, ignore_index=True)


def knees(asked: argparse.Namespace) -> pd.DataFrame:
    """Knees at one visit, with the twins that have neither effusion nor marrow lesion."""
    folder = asked.out / "knees" / "images"
    made = simulate_knees(
        folder, persons=asked.persons or KNEES, image_months=(0,), twins=True, seed=asked.seed, workers=1
    )  # fmt: skip
    rows = pd.read_csv(made, dtype={"id": str, "subject": str}, keep_default_na=False)
    for column in ("path", "masks", "twin"):
        rows[column] = [str((folder / each).resolve()) if each else "" for each in rows[column]]
    return rows[["id", "path", "subject", "masks", "twin"]]


def parts(table: pd.DataFrame, out: Path) -> tuple[Path, Path]:
    """Tables of whom the painter learns from and whom it is judged by, nobody in both."""
    people = sorted(table["subject"].unique())
    chosen = set(pd.Series(people).sample(frac=LEARN, random_state=0))
    paths = out / "learn.csv", out / "judge.csv"
    for path, part in zip(paths, (True, False), strict=True):
        write_whole(path, table[table["subject"].isin(chosen) == part].to_csv(index=False))
    return paths


def tell(name: str, found: dict[str, Any]) -> None:
    """Print what was found."""
    counts = ", ".join(f"{each} {n}" for each, n in found["counts"].items())
    print(f"\n## {name}: learned from {counts}; one training, one judge\n")
    heading(["measure", "of", "value", "low", "high", "images"])
    for row in found["figures"]:
        value = [f"{row[each]:.3f}" if row[each] is not None else "" for each in ("value", "low", "high")]
        line([row["measure"], row["of"], *value, row["images"]])
    print("\n" + "\n".join(found["sentences"]))


if __name__ == "__main__":
    main()
