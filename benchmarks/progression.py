"""How near predicted visits come to those that came, beside what needs no network.

    python -m benchmarks.progression --out OUT [--only evolving knees] [--methods dep-gan difference-unet] [--seed 0]
    python -m benchmarks.progression --out OUT --only knees --methods difference-unet --foretell 300

`evolving`: 600 simulated persons, 48 pixels, seen twice; learned from `train` (parted into train, choose and
calibrate by subject), reported on `test`. `knees`: 150 simulated persons with two knees, months 0 and 24, 64 pixels;
the map is the mask of effusion and marrow lesions, smoothed by a Gaussian of 1 pixel; every third person, by name, is
reported on. The image of the first visit is seen beside the map. What is there is not computed again.

`--foretell N`: of N further simulated persons (seed + 1), what the change predicted from month 0 alone, by a run that
was trained on knees before, tells of progression within 48 months, beside the volume now and the plain regression.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage

from anomaly.files import write_whole
from anomaly.images import read
from anomaly.images.pictures import write_grey
from anomaly.images.preprocessing import Preprocessing
from anomaly.progression.evaluating import evaluate_progression
from anomaly.progression.floors import Floors
from anomaly.progression.forecasting import read_pairs, seen_now
from anomaly.progression.learning import learn_progression
from anomaly.progression.pairing import Visits, singles
from anomaly.progression.predicting import predict_progression
from anomaly.progression.reading import Pair
from anomaly.progression.run import ForecasterRun
from anomaly.simulation import simulate
from anomaly.simulation.evolving import ceiling
from anomaly.statistics import auroc_interval, compare_aurocs

SMALL: dict[str, Any] = {"width": 8, "levels": 3, "batch": 8, "patience": 20}
METHODS: dict[str, dict[str, Any]] = {
    "difference-unet": {**SMALL, "steps": 1200},
    "dep-gan": {**SMALL, "steps": 1000, "best": 3, "critic_width": 4, "turns": 2, "lr": 5e-4},
}
SIZES = {"evolving": 48, "knees": 64}
LEAST = {"evolving": 10.0, "knees": 10.0}
HURTS, SMOOTH = 3, 1.0


def evolving(out: Path, seed: int) -> tuple[Path, str]:
    """The table of simulated persons with evolving lesions, and its column of visits."""
    return simulate("evolving", out / "evolving", persons=600, size=SIZES["evolving"], seed=seed), "visit_years"


def knees(out: Path, seed: int, persons: int = 150, folder: str = "knees") -> tuple[Path, str]:
    """The table of simulated knees with smoothed masks as maps, and its column of visits."""
    path = simulate("knees", out / folder, persons=persons, size=SIZES["knees"], seed=seed)
    table = pd.read_csv(path, dtype={"id": str, "subject": str})
    files = []
    for row in table.to_dict("records"):
        file = path.parent / "maps" / f"{row['id']}.png"
        if not file.exists():
            flags = read(path.parent / row["masks"]).pixels[0].astype(int)
            likely = ndimage.gaussian_filter(((flags & HURTS) > 0).astype(float), SMOOTH)
            file.parent.mkdir(exist_ok=True)
            write_grey(file, np.rint(255 * likely).astype(np.uint8))
        files.append(f"maps/{row['id']}.png")
    names = sorted(table["subject"].unique())
    part = dict(zip(names, np.where(np.arange(len(names)) % 3 == 0, "test", "train"), strict=True))
    told = table.rename(columns={"split": "study"}).assign(
        map=files, visit_months=table["visit"], split=table["subject"].map(part)
    )
    ready = path.parent / "pairs_cohort.csv"
    write_whole(ready, told.to_csv(index=False))
    return ready, "visit_months"


def main() -> None:
    """Simulate, train, evaluate, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--foretell", type=int, default=0, metavar="N")
    asked = parser.parse_args()
    for name in [] if asked.foretell else asked.only:
        table, column = {"evolving": evolving, "knees": knees}[name](asked.out, asked.seed)
        for method in asked.methods:
            judged = _judged(asked.out, name, method, table, column, asked.seed)
            print(f"\n{name}, {method}", *judged.sentences, judged.summary.to_string(), sep="\n")
        if name == "evolving":
            print("oracle", ceiling(pd.read_csv(table), LEAST[name]))
    for method in asked.methods if asked.foretell else []:
        foretold(asked.out, method, asked.foretell, asked.seed)


def foretold(out: Path, method: str, persons: int, seed: int) -> None:
    """Print what the change predicted of other persons' knees tells of progression: AUROC, clustered by person."""
    run = ForecasterRun.open(out / f"knees-{method}")
    table, _ = knees(out, seed + 1, persons, "more_knees")
    first = pd.read_csv(table, dtype={"id": str, "subject": str})
    # The names of persons of two simulations are the same, the persons are not.
    first = first[(first["visit"] == 0) & first["progression"].notna()].assign(subject="more-" + first["subject"])
    for name in ("path", "map"):
        first[name] = [str(table.parent / file) for file in first[name]]
    done = predict_progression(run.folder, first, out / f"knees-{method}-foretold", maps="map")
    found = pd.read_csv(done.path, dtype={"id": str, "subject": str}).merge(first[["id", "progression"]], on="id")
    pool, floors = ThreadPoolExecutor(1), Floors.of(run.learned_from)
    rows: list[Any] = singles(first, "map", None).to_dict("records")
    pairs = read_pairs(rows, run.reading, pool, known=False)
    plain = {row["id"]: seen_now(pair, run.forecaster.threshold) for row, pair in pairs if isinstance(pair, Pair)}
    told = [plain[each["id"]] | {"volume": each["volume"], "years": run.years} for each in found.to_dict("records")]
    ways: dict[str, Any] = {
        f"{method}, change": found["change"],
        "regression, change": [floors.changes(each, None)["regression"] for each in told],
        "volume now": found["volume"], f"{method}, volume at month 24": found["predicted_volume"],
    }  # fmt: skip
    events = int(found["progression"].sum())
    print(f"{len(found)} knees of {found['subject'].nunique()} persons, {events} with progression")
    for name, score in ways.items():
        print(name, auroc_interval(found["progression"], score, found["subject"], scale="logit"))
    first_way, *others = (np.asarray(each, dtype=float) for each in ways.values())
    for name, other in zip(list(ways)[1:], others, strict=True):
        print(f"less that of {name}", compare_aurocs(found["progression"], first_way, other, found["subject"]))


def _judged(out: Path, name: str, method: str, table: Path, column: str, seed: int) -> Any:
    size = SIZES[name]
    prepared = Preprocessing(size=size, intensity="range")
    seen = {"visits": column, "maps": "map"}
    run = learn_progression(
        Visits(images=table, where={"split": "train"}, **seen), out / f"{name}-{method}", method=method,
        settings=METHODS[method], preprocessing=prepared, image="beside", seed=seed, save_every=200, resume=True,
    )  # fmt: skip
    test = Visits(images=table, where={"split": "test"}, **seen)
    return evaluate_progression(run.folder, test, out / f"{name}-{method}-test", least=LEAST[name], seed=seed)


if __name__ == "__main__":
    main()
