"""New chest X-rays of both classes: how like real ones as training goes on, and whether a classifier learns from them.

    python -m benchmarks.generated_xrays DATA [--out OUT] [--seed 0] [--precision bf16] [--only likeness use few]

DATA is a folder with `cohort.csv` (path, subject, label, split), as the public set is laid out: to learn from are its
normal training images and the pneumonias of `val`, 15 % of the children held out; to report on is `test`. StyleGAN with
and without adaptive augmentation, and alpha-WGAN, are trained on the same images; runs in OUT are not trained again.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import anomaly
from anomaly.detectors import PCA, Detector
from anomaly.generation.generate import draw
from anomaly.images import read
from anomaly.images.preprocessing import Preprocessing
from anomaly.runs.run import Run
from anomaly.runs.settings import parse_settings
from anomaly.statistics import auroc_interval
from anomaly.statistics.distances import frechet, kid
from anomaly.training.batches import chunks
from anomaly.training.machine import Machine
from benchmarks.coverage import heading, line
from explain.classifier import Classifier

SMALL = {"width": 16, "latent": 64, "augment_images": 1e5, "steps": 3000, "encoder_steps": 500}
RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "stylegan": ("stylegan", SMALL),
    "stylegan, not augmented": ("stylegan", {**SMALL, "augment": 0.0}),
    "alphagan": ("alphagan", {"width": 16, "latent": 64, "hidden": 256, "batch": 32, "lr": 2e-4, "steps": 2000}),
}
FEW: dict[str, Any] = {
    "width": 16, "latent": 64, "penalty": 10.0, "augment_images": 2e4, "steps": 500, "encoder_steps": 1,
}  # fmt: skip
FEW_IMAGES, FEW_SIZE, DRAWS = 200, 32, 5
DRAWN, COMPONENTS = 1000, 32
SEEDS = (0, 1, 2)


def main() -> None:
    """Train what is not there, and print tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("benchmark_out/generated_xrays"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--only", nargs="+", default=["likeness", "use"], choices=["likeness", "use", "few"])
    parser.add_argument(
        "--set", nargs="*", default=[], dest="settings", help="NAME=VALUE of the StyleGAN of few images"
    )
    arguments = parser.parse_args()
    learning, others = cohorts(arguments.data)
    if "few" in arguments.only:
        of_few(learning, arguments)
        return
    runs = {
        name: trained(arguments, learning, name) for name in RUNS if "likeness" in arguments.only or name == "stylegan"
    }
    if "likeness" in arguments.only:
        curves(runs)
        alike(runs, arguments)
    if "use" in arguments.only:
        of_use(runs["stylegan"], others)


def cohorts(data: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Images to learn from and to report on, with whole paths and `kind`, normal or pneumonia."""
    table = pd.read_csv(data / "cohort.csv", dtype={"subject": str})
    table["path"] = [str((data / path).resolve()) for path in table["path"]]
    table["kind"] = table["label"].map({0: "normal", 1: "pneumonia"})
    normal, case = table["label"] == 0, table["label"] == 1
    learning = table[((table["split"] == "train") & normal) | ((table["split"] == "val") & case)]
    return learning.reset_index(drop=True), table[table["split"] == "test"].reset_index(drop=True)


def trained(arguments: argparse.Namespace, learning: pd.DataFrame, name: str) -> Run:
    """A run, trained now or before."""
    method, settings = RUNS[name]
    return anomaly.learn(
        learning, arguments.out / name.replace(", ", "-").replace(" ", "-"), method=method, settings=settings,
        subject="subject", classes="kind" if method == "stylegan" else None, choose=0.1, calibrate=0.05,
        seed=arguments.seed, save_every=250, resume=True,
        machine=Machine(device=arguments.device, precision=arguments.precision),
    )  # fmt: skip


def curves(runs: dict[str, Run]) -> None:
    """Print the Frechet distance and the chance of augmentation as training went on."""
    print("\nFrechet distance of drawn from held-out images, in principal components, as training goes on\n")
    for name, run in runs.items():
        told = pd.read_csv(run.folder / "training.csv")
        figures = told[told["player"].str.startswith("seen/")].pivot(index="step", columns="player", values="loss")
        if "seen/fid_pca" not in figures:
            continue
        figures = figures.dropna(subset="seen/fid_pca")
        heading([name, *map(str, figures.index)])
        for column in ("seen/fid_pca", "seen/fid_pca_real", "seen/augmentation"):
            line([column.removeprefix("seen/"), *(f"{value:.3g}" for value in figures[column])])
        print()


def alike(runs: dict[str, Run], arguments: argparse.Namespace) -> None:
    """Print how far the drawn images of each run are from held-out real ones, on two kinds of features."""
    first = next(iter(runs.values()))
    real = {part: prepared(first, first.normals[first.normals["split"] == part]) for part in ("train", "choose")}
    pca = PCA(components=COMPONENTS).fit(real["train"])
    table = first.normals[["path", "subject", "id"]]
    features = anomaly.learn(
        table, arguments.out / "features", method="autoencoder", settings={"latent": 32}, subject="subject",
        choose=0.1, calibrate=0.05, seed=arguments.seed, resume=True,
    ).detector  # fmt: skip
    codes = {"pca-32": partial(coded, pca), "codes of an autoencoder": partial(coded, features)}
    heading(["drawn by", *(f"{measure}, {name}" for name in codes for measure in ("Frechet", "kernel"))])
    parts = np.random.default_rng(0).permutation(len(real["train"]))
    shown = {name: drawn(run, DRAWN, mix(first)) for name, run in runs.items()}
    shown["real images trained on"] = real["train"][parts[:DRAWN]]
    for name, images in shown.items():
        values = []
        for code in codes.values():
            ours, theirs = code(images), code(real["choose"])
            scale = theirs.std()
            values += [frechet(ours / scale, theirs / scale), kid(ours / scale, theirs / scale)]
        line([name, *(f"{value:.3g}" for value in values)])


def of_few(learning: pd.DataFrame, arguments: argparse.Namespace) -> None:
    """Train on few images with and without augmentation; print how like other children's, and how like copies."""
    one_each = learning.sample(frac=1, random_state=0).drop_duplicates("subject").reset_index(drop=True)
    preprocessing = Preprocessing(size=FEW_SIZE)
    parts = [one_each[:FEW_IMAGES], one_each[FEW_IMAGES : 2 * FEW_IMAGES], one_each[2 * FEW_IMAGES :]]
    seen, other, real = (
        np.concatenate([preprocessing.apply(read(Path(path))).pixels for path in part["path"]]) for part in parts
    )
    print(
        f"{len(seen)} images to learn from, {len(other)} as a floor, held against {len(real)}; all of other children\n"
    )
    pca = PCA(components=COMPONENTS).fit(real)
    shown = {"floor: images trained on": [seen], "floor: images of others": [other]}
    for name, more in {"augmented as needed (ADA)": {}, "not augmented": {"augment": 0.0}}.items():
        run = anomaly.learn(
            parts[0], arguments.out / name.replace(" ", "-"), method="stylegan", preprocessing=preprocessing,
            settings={**FEW, **more, **parse_settings(arguments.settings)}, subject="subject", calibrate=0.05,
            seed=arguments.seed, save_every=100, resume=True,
            machine=Machine(device=arguments.device, precision=arguments.precision),
        )  # fmt: skip
        curve = pd.read_csv(run.folder / "training.csv")
        chance = curve.loc[curve["player"] == "seen/augmentation", ["step", "loss"]]
        print(f"{name}: {curve['seconds'].max() / 60:.1f} minutes; chance of augmentation by step", chance.to_numpy())
        shown[name] = [np.concatenate([x for _, x in draw(run, range(FEW_IMAGES), seed)]) for seed in range(DRAWS)]
    heading(["images", "Frechet", "kernel", "nearer to one trained on than 95 % of other children's"])
    usual = np.quantile(nearest(other, seen), 0.05)
    theirs = coded(pca, real)
    for name, sets in shown.items():
        ours = [coded(pca, images) for images in sets]
        measured = [[each(code / theirs.std(), theirs / theirs.std()) for code in ours] for each in (frechet, kid)]
        copies = [float((nearest(images, seen) < usual).mean()) for images in sets]
        told = [f"{np.mean(each):.3g}" + (f" (SD {np.std(each):.2g})" if len(each) > 1 else "") for each in measured]
        line([name, *told, "" if sets[0] is seen else f"{np.mean(copies):.1%}"])


def nearest(images: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The root mean square distance (n,) of each image from the nearest of the others."""
    a, b = (x.reshape(len(x), -1).astype(np.float64) for x in (images, others))
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.asarray(np.sqrt(squares.min(1).clip(0) / a.shape[1]))


def mix(run: Run) -> np.ndarray:
    """The class of each image to draw, in the shares of those held out."""
    names = run.facts["classes"]["names"]
    held_out = run.normals.loc[run.normals["split"] == "choose", "class"]
    shares = np.array([(held_out == name).mean() for name in names])
    return np.repeat(np.arange(len(names)), np.rint(shares * DRAWN).astype(int))


def drawn(run: Run, count: int, classes: np.ndarray) -> np.ndarray:
    """New images (n, C, *space), of these classes where the run knows classes."""
    if not run.facts.get("classes"):
        return np.concatenate([pixels for _, pixels in draw(run, range(count), 0)])
    names = run.facts["classes"]["names"]
    parts = [
        pixels
        for k, name in enumerate(names)
        for _, pixels in draw(run, range(int((classes == k).sum())), k, classes=[name])
    ]
    return np.concatenate(parts)


def prepared(run: Run, table: pd.DataFrame) -> np.ndarray:
    """Images as the run takes them, (n, C, *space)."""
    return np.concatenate([run.preprocessing.apply(read(Path(path))).pixels for path in table["path"]])


def coded(detector: Detector, images: np.ndarray) -> np.ndarray:
    """Features (n, d) of images."""
    with torch.no_grad():
        return torch.cat([detector.encode(x).double() for x in chunks(images, detector.device)]).numpy()


def of_use(run: Run, others: pd.DataFrame) -> None:
    """Print how well classifiers trained on real, on drawn and on all images tell real children apart."""
    names, table = run.facts["classes"]["names"], run.normals
    real = {part: [prepared(run, table[(table["split"] == part) & (table["class"] == name)]) for name in names]
            for part in ("train", "choose")}  # fmt: skip
    new = [np.concatenate([p for _, p in draw(run, range(DRAWN), 1, classes=[name])]) for name in names]
    both = [np.concatenate(each) for each in zip(real["train"], new, strict=True)]
    x, outcome = prepared(run, others), others["label"].to_numpy()
    print(f"\nPneumonia in {len(x)} images of {others['subject'].nunique()} children; held out to stop by:"
          f" {len(real['choose'][0])} + {len(real['choose'][1])} real ones\n")  # fmt: skip
    heading(["trained on", "images", *(f"AUROC, seed {seed}" for seed in SEEDS), "95 % of the mean score"])
    for name, (controls, cases) in {"real": real["train"], "drawn": new, "real and drawn": both}.items():
        logits = []
        for seed in SEEDS:
            classifier = Classifier().fit(controls, cases, held_out=tuple(real["choose"]), seed=seed)  # type: ignore[arg-type]
            with torch.no_grad():
                logits.append(torch.cat([classifier.logit(part) for part in chunks(x)]).numpy())
        areas = [auroc_interval(outcome, each, others["subject"].to_numpy()) for each in logits]
        mean = auroc_interval(outcome, np.mean(logits, axis=0), others["subject"].to_numpy())
        line([name, f"{len(controls)} + {len(cases)}", *(f"{area.value:.3f}" for area in areas),
              f"{mean.value:.3f} ({mean.low:.3f}-{mean.high:.3f})"])  # fmt: skip


if __name__ == "__main__":
    main()
