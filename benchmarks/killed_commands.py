"""The long commands of the program, each on images so small that it takes seconds; what they read is simulated."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

SEED = ("--device", "cpu", "--workers", "1", "--seed", "3")
READ = ("--device", "cpu", "--workers", "1")
SMALL = ("--size", "32", "--dims", "2", "--intensity", "range", *SEED)
COHORT, GROUPS = "given/knees.csv", ("--cohort", "given/knees.csv", "--outcome", "pain")


@dataclass(frozen=True)
class Long:
    """One command.

    Args:
        name: of its folder, and in the table.
        words: as a user would type them, OUT for the folder that it makes or adds to.
        start: another command, a copy of whose folder it adds to.
    """

    name: str
    words: tuple[str, ...]
    start: str = ""

    @property
    def out(self) -> str:
        """The folder that it makes, from where it is called."""
        return f"out/{self.name}"

    def typed(self, out: str | None = None) -> list[str]:
        """Its words for one folder, its own by default."""
        return [word.replace("OUT", out or self.out) for word in self.words]


def steps(count: int, *settings: str, every: int = 0) -> tuple[str, ...]:
    """Options of a short training, with some five checkpoints."""
    set_ = [word for setting in settings for word in ("--set", setting)]
    return (*set_, "--steps", str(count), "--save-every", str(every or max(1, count // 5)), "--out", "OUT")


def knees(*more: str) -> tuple[str, ...]:
    """Persons to look at, none of whom was learned from."""
    return ("--images", "given/others.csv", *more, "--out", "OUT")


LABELS = ("--images", "given/normals.csv", "--labels", "labels")
EVOLVING = ("--images", "given/evolving/cohort.csv")
PAIRED = ("--visits", "visit_years", "--maps", "map")
LESIONS = ("--images", "given/lesions.csv", "--lesions", "mask", "--class", "kind")
COMMANDS = [
    Long("simulate knees", ("simulate", "knees", "--set", "persons=16", "--size", "32", "--seed", "3", "--out", "OUT",
                            "--set", "workers=1")),
    Long("simulate lesions", ("simulate", "lesions", "--normals", "given/normals.csv", "--set", "radius=2,4",
                              "--seed", "3", "--out", "OUT")),
    Long("simulate evolving", ("simulate", "evolving", "--size", "32", "--set", "persons=40", "--out", "OUT")),
    Long("train auto", ("train", "--normals", "given/normals.csv", *SMALL, "--method", "auto", "--set",
                        "members=texture,autoencoder", *steps(30))),
    Long("train pca", ("train", "--normals", "given/normals.csv", *SMALL, "--method", "pca",
                       "--set", "components=4", "--out", "OUT")),
    Long("train vae", ("train", "--normals", "given/normals.csv", *SMALL, "--method", "vae",
                       *steps(60, "width=4", "hidden=16", "latent=4", "batch=8"))),
    Long("train fanogan", ("train", "--normals", "given/normals.csv", *SMALL, "--method", "fanogan",
                           *steps(8, "width=4", "latent=4", "batch=8", "encoder_steps=24", every=3))),
    Long("score nifti,png", ("score", "made/train vae", "--heatmaps", "nifti,png", "--batch", "4", *READ, *knees())),
    Long("score ensemble", ("score", "made/train pca", "made/train vae", "--heatmaps", "png", "--batch", "4", *READ,
                            *knees())),
    Long("evaluate", ("evaluate", "OUT", "--cohort", COHORT, "--outcome", "pain", "--adjust", "age,bmi", "--strata",
                      "sex"), start="score nifti,png"),
    Long("evaluate --truth", ("evaluate", "OUT", "--cohort", COHORT, "--where", "side=right", "--truth", "masks"),
         start="score nifti,png"),
    Long("associate", ("associate", "made/score nifti,png", "--cohort", COHORT, "--outcome", "pain", "--permutations",
                       "200", "--out", "OUT")),
    Long("generate", ("generate", "made/train fanogan", "--count", "60", "--batch", "8", "--real", "given/others.csv",
                      "--device", "cpu", "--out", "OUT")),
    Long("report", ("report", "OUT"), start="evaluate"),
    Long("explain train additive", ("explain", "train", *GROUPS, *SMALL, "--method", "additive",
                                    *steps(8, "width=4", "critic_width=4", "warm_up=2", "critic_turns=2",
                                           "batch=4"))),
    Long("explain train deformation", ("explain", "train", *GROUPS, *SMALL, "--method", "deformation",
                                       *steps(6, "width=4", "critic_width=4", "warm_up=2", "critic_turns=2",
                                              "batch=4"))),
    Long("explain classifier", ("explain", "classifier", *GROUPS, *SMALL, *steps(16, "width=4", "batch=8"))),
    Long("explain map trained", ("explain", "map", "made/explain train additive", "--judge", "made/explain classifier",
                                 "--allow-overlap", *READ, *knees())),
    Long("explain map gradients", ("explain", "map", "integrated-gradients", "--set", "steps=8", "--target",
                                   "made/explain classifier",
                                   "--allow-overlap", *READ, *knees())),
    Long("explain evaluate", ("explain", "evaluate", "OUT", "--cohort", COHORT, "--outcome", "pain", "--mask", "masks"),
         start="explain map trained"),
    Long("explain check", ("explain", "check", "integrated-gradients", "--target", "made/explain classifier",
                           "--images", "given/others.csv", "--count", "8", "--set", "steps=8", *SEED, "--out", "OUT")),
    Long("register visits", ("register", "visits", *EVOLVING, "--visits", "visit_years", "--where", "split=test",
                             "--by", "affine", *SEED, "--out", "OUT")),
    Long("register template", ("register", "template", "--images", "given/others.csv", "--where", "side=right",
                               "--where", "sex=1", "--rounds", "2", "--by", "affine", *SEED, "--out", "OUT")),
    Long("register train", ("register", "train", "--images", "given/normals.csv", "--start", "none", *SMALL,
                            "--intensity", "percentile", *steps(20))),
    Long("progress train", ("progress", "train", *EVOLVING, *PAIRED, "--method", "dep-gan", "--where",
                            "split=train", *SMALL, *steps(10, "width=4", "critic_width=4", "turns=2", "best=2",
                                                          "batch=4"))),
    Long("progress predict", ("progress", "predict", "made/progress train", *EVOLVING, "--where", "split=test",
                              "--maps", "map", "--years", "1", *READ, "--out", "OUT")),
    Long("progress evaluate", ("progress", "evaluate", "made/progress train", *EVOLVING, *PAIRED, "--where",
                               "split=test", *SEED, "--out", "OUT")),
    Long("progress change", ("progress", "change", *EVOLVING, "--visits", "visit_years", "--where", "split=test",
                             "--workers", "1", "--out", "OUT")),
    Long("restore train", ("restore", "train", "--images", "given/normals.csv", "--degrade", "downsample", "--set",
                           "factor=2", "--intensity", "range", *SEED, *steps(40, "width=8", "batch=4"))),
    Long("restore apply", ("restore", "apply", "made/restore train", *SEED, *knees())),
    Long("restore evaluate", ("restore", "evaluate", "made/restore train", *SEED, *knees())),
    Long("translate train", ("translate", "train", "--from", "given/normals.csv", "--to", "given/evolving/cohort.csv",
                             *SMALL, *steps(12, "width=4", "halved=1", "batch=2"))),
    Long("translate apply", ("translate", "apply", "made/translate train", *READ, *knees("--batch", "4"))),
    Long("translate evaluate", ("translate", "evaluate", "made/translate train", "--from", "given/others.csv", "--to",
                                "given/lesions.csv", "--allow-overlap", *SEED, "--out", "OUT")),
    Long("segment train", ("segment", "train", "--labelled", "given/normals.csv", "--labels", "labels", *SMALL,
                           "--method", "mean-teacher", "--unlabelled", "given/others.csv",
                           *steps(30, "width=4", "batch=4"))),
    Long("segment apply", ("segment", "apply", "made/segment train", "--probabilities", "--allow-overlap", *READ,
                           *knees())),
    Long("segment evaluate", ("segment", "evaluate", "made/segment apply", "--labels", "labels", "--cohort", COHORT,
                              "--workers", "1", "--seed", "3", "--out", "OUT")),
    Long("synthesize train", ("synthesize", "train", *LABELS, *SMALL, *steps(20, "width=4", "batch=4"))),
    Long("synthesize vary", ("synthesize", "vary", "--labels", COHORT, "--lesions", "7", "--seed", "3", "--out",
                             "OUT")),
    Long("synthesize apply", ("synthesize", "apply", "made/synthesize train", "--labels", "given/others.csv",
                              "--column", "labels", *SEED, "--out", "OUT")),
    Long("synthesize ultrasound", ("synthesize", "ultrasound", "--labels", "given/others.csv", "--column", "labels",
                                   "--workers", "1", "--out", "OUT")),
    Long("paint train", ("paint", "train", *LESIONS, *SMALL, *steps(20, "width=4", "critic_width=4", "batch=4"))),
    Long("paint out", ("paint", "out", "made/paint train", *LESIONS[:4], "--allow-overlap", *SEED, "--out", "OUT")),
    Long("paint in", ("paint", "in", "made/paint train", "--images", "given/others.csv", "--class", "blob", "--count",
                      "20", *SEED, "--out", "OUT")),
]  # fmt: skip


def prepare(home: Path, run: Callable[[Sequence[str]], None]) -> None:
    """Simulate what the commands read: knees, knees with lesions, and persons seen twice."""
    os.chdir(home)
    run(["simulate", "knees", "--set", "persons=30", "--size", "32", "--set", "workers=1", "--out", "given/knees"])
    run(["simulate", "evolving", "--set", "persons=24", "--size", "32", "--out", "given/evolving"])
    table = pd.read_csv("given/knees/cohort.csv")
    for column in ("path", "masks", "labels"):
        table[column] = "knees/" + table[column]
    table.to_csv("given/knees.csv", index=False)
    table[table["normal"] == 1].to_csv("given/normals.csv", index=False)
    others = table[(table["normal"] == 0) & ~table["subject"].isin(table.loc[table["normal"] == 1, "subject"])]
    others[others["visit"] == 0].to_csv("given/others.csv", index=False)
    run(["simulate", "lesions", "--normals", "given/normals.csv", "--set", "radius=2,4", "--out", "given/lesions"])
    marked = pd.read_csv("given/lesions/cohort.csv")
    for column in ("path", "mask"):
        marked[column] = ("lesions/" + marked[column]).where(marked[column].notna())
    marked["kind"] = marked["mask"].notna().map({True: "blob", False: ""})
    marked.to_csv("given/lesions.csv", index=False)
