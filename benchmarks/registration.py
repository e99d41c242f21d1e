"""Registration of images deformed by fields that are known: how far off the field found is, and what it costs.

    python -m benchmarks.registration --out OUT [--only knees xrays volumes] [--xrays DATA] [--steps 3000] [--pairs 20]

knees: simulated slices of 96 pixels; xrays: chest X-rays of normal people (DATA/cohort.csv), 128 pixels; volumes:
simulated knees of 64 x 64 x 42 voxels. A smooth random velocity whose largest vector has five pixels is followed there
and back; the image drawn by the one way is the moving image, the other way is the truth, and both images get noise of
their own. The learned registrar sees other people's images under other fields. Errors are within the body (of knees
what is brighter than air). One thread each; times are of the processor, for the machine may be busy. dipy and SimpleITK
are asked where they are installed.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import torch

from anomaly import Machine
from anomaly.nets.fields import folded_share, integrate, length, warp
from anomaly.nets.losses import gaussian_blur
from anomaly.registrars.demons import Demons
from anomaly.registrars.learned import VoxelMorph
from anomaly.simulation.anatomy import SITES, Lesions, draw_knee
from anomaly.training.journal import Journal

REACH, NOISE, AIR = 5.0, 0.02, -0.8
SMOOTH = 1 / 6
"""Of the longest side, the deviation of the Gaussian that smooths velocities."""
FINDINGS = ("effusion", "marrow", "thinning", "osteophytes")
IMAGES = {"knees": (200, 96, 2), "xrays": (300, 128, 2), "volumes": (24, 64, 3)}
"""To learn from, pixels a side, axes."""
SETTINGS: dict[str, dict[str, Any]] = {
    "knees": {
        "agreement": "difference", "smoothness": 0.001, "batch": 4, "lr": 4e-3, "symmetric": False, "width": 8,
        "levels": 4, "integration": 4,
    },
    "xrays": {"agreement": "difference", "smoothness": 0.003, "batch": 4, "lr": 2e-3, "symmetric": False},
    "volumes": {"agreement": "difference", "smoothness": 0.003, "batch": 1, "lr": 2e-3, "symmetric": False},
}  # fmt: skip
STORED = {2: 300, 3: 12}
"""Fields to learn from, by the axes of images."""
WAYS = ("none", "itk", "demons", "syn", "learned")
SAME_FIELDS = "it learned from fields of the distribution it is tested on"
Way = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Moving and fixed (*space) -> field (dims, *space) in pixels."""


def main() -> None:
    """Print one line of JSON for each way of registering."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--xrays", type=Path, help="folder with cohort.csv: subject, label, split, path")
    parser.add_argument("--only", nargs="+", choices=tuple(IMAGES), default=["knees", "volumes"])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--set", nargs="*", default=[], dest="settings", help="NAME=VALUE of voxelmorph")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.only:
        for row in study(name, arguments):
            print(json.dumps({"images": name, **row}), flush=True)


def study(name: str, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Every way on the same held-out pairs."""
    learn, test = images(name, arguments)
    moving, fixed, truth = deformed(test[: arguments.pairs], torch.Generator().manual_seed(arguments.seed + 1))
    inside = test[: arguments.pairs, 0] > AIR
    ways: dict[str, Way] = {
        "none": lambda a, b: np.zeros((b.ndim, *b.shape), dtype=np.float32), "itk": itk_demons,
        "demons": lambda a, b: Demons().field(a[None], b[None], spacing=[1.0] * b.ndim), "syn": syn,
    }  # fmt: skip
    for way in arguments.ways:
        if way == "learned":
            registrar, told = learned(name, learn, arguments)
            yield {"way": way, **told}
            ways[way] = by(registrar)
        try:
            ways[way](moving[0, 0].numpy(), fixed[0, 0].numpy())  # what is slow once only
            began = time.process_time()
            found = [ways[way](a[0].numpy(), b[0].numpy()) for a, b in zip(moving, fixed, strict=True)]
        except ImportError as error:
            yield {"way": way, "missing": str(error)}
            continue
        seconds = (time.process_time() - began) / len(moving)
        yield {"way": way, "seconds": seconds, **judged(torch.from_numpy(np.stack(found)), truth, inside)}


def judged(found: torch.Tensor, truth: torch.Tensor, inside: torch.Tensor) -> dict[str, float]:
    """End-point error within the body, in pixels, and the share of all pixels that fold."""
    errors = length(found.float() - truth)[:, 0]
    means = torch.stack([each[where].mean() for each, where in zip(errors, inside, strict=True)])
    within = errors[inside].numpy()
    return {
        "mean": float(means.mean()), "sd_of_pairs": float(means.std()), "95 %": float(np.quantile(within, 0.95)),
        "folded": float(folded_share(found.float()).mean()), "pairs": len(found),
    }  # fmt: skip


def deformed(x: torch.Tensor, random: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Moving and fixed images (N, 1, *space) of images, and the field that brings the one onto the other."""
    field, back = known_fields(len(x), x.shape[2:], random)
    return noisy(warp(x, back), random), noisy(x, random), field


def known_fields(count: int, space: torch.Size, random: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Fields (N, dims, *space) of smooth velocities whose largest vector has five pixels, and their inverses."""
    velocity = gaussian_blur(torch.randn(count, len(space), *space, generator=random), SMOOTH * max(space))
    largest = length(velocity).flatten(1).amax(1).view(-1, *[1] * (len(space) + 1))
    velocity = velocity * (REACH / largest)
    return integrate(velocity), integrate(-velocity)


def noisy(x: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Images with noise, within [-1, 1]."""
    return (x + NOISE * torch.randn(x.shape, generator=random)).clamp(-1, 1)


class Deformed:
    """Batch number k of moving and fixed images: whose they are, their fields and their noise follow from k alone.

    Fields are taken from a store, turned round along axes by chance, so that drawing them costs little.
    """

    def __init__(self, x: torch.Tensor, size: int, seed: int) -> None:
        self.x, self.size, self.seed = x, size, seed
        random = torch.Generator().manual_seed(seed + 2)
        parts = [known_fields(1, x.shape[2:], random)[1] for _ in range(STORED[x.ndim - 2])]
        self.fields = torch.cat(parts)

    def __getitem__(self, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        random = torch.Generator().manual_seed((self.seed + 2) * 10_000_019 + k)
        chosen = torch.randint(len(self.x), (self.size,), generator=random)
        fields = self.fields[torch.randint(len(self.fields), (self.size,), generator=random)]
        for axis in range(self.x.ndim - 2):
            if torch.rand((), generator=random) < 0.5:
                fields = fields.flip(axis + 2)
                fields[:, axis] *= -1
        return noisy(warp(self.x[chosen], fields), random), noisy(self.x[chosen], random)


def learned(name: str, x: torch.Tensor, arguments: argparse.Namespace) -> tuple[VoxelMorph, dict[str, Any]]:
    """A registrar trained on images of others, with what that took; kept in OUT and taken from there with --resume."""
    from anomaly.runs.settings import parse_settings

    file = arguments.out / f"{name}.safetensors"
    registrar = VoxelMorph(steps=arguments.steps, **{**SETTINGS[name], **parse_settings(arguments.settings)})
    asked = {"settings": registrar.settings(), "seed": arguments.seed}
    refuse_others(arguments.out / f"{name}.json", asked, arguments.resume)
    if arguments.resume and file.is_file():
        return VoxelMorph.load(file), {**asked, "trained": "before", "note": SAME_FIELDS}
    shown = deformed(x[:4], torch.Generator().manual_seed(arguments.seed))[:2]
    folder = arguments.out / name
    folder.mkdir(exist_ok=True)
    began, wall = time.process_time(), time.perf_counter()
    source = Deformed(x, registrar.batch, arguments.seed)
    registrar.fit(
        source, x.shape[1:], held_out=shown, machine=Machine(device="cpu"), seed=arguments.seed,
        journal=Journal(folder=folder, resume=arguments.resume, save_every=200),
    )  # fmt: skip
    registrar.save(file)
    told = {"processor_seconds": time.process_time() - began, "wall_seconds": time.perf_counter() - wall}
    return registrar, {**asked, **told, "note": SAME_FIELDS}


def refuse_others(file: Path, asked: dict[str, Any], resume: bool) -> None:
    """Write down what is asked of a training; with --resume refuse weights that were asked otherwise."""
    if resume and file.is_file() and (before := json.loads(file.read_text())) != json.loads(json.dumps(asked)):
        raise SystemExit(f"{file} tells of a training with {before}; now asked: {asked}; leave --resume out")
    file.write_text(json.dumps(asked))


def by(registrar: VoxelMorph) -> Way:
    """One pair at a time."""

    def way(moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
        pair = [torch.from_numpy(each)[None, None] for each in (moving, fixed)]
        field: np.ndarray = registrar.field(pair[0], pair[1])[0].numpy()
        return field

    return way


def images(name: str, arguments: argparse.Namespace) -> tuple[torch.Tensor, torch.Tensor]:
    """Images to learn from and of other people to test on, (n, 1, *space) in [-1, 1]; drawn once and kept."""
    count, side, dims = IMAGES[name]
    file = arguments.out / f"{name}.npz"
    if not file.is_file():
        if name == "xrays":
            learn, test = (
                of_xrays(arguments.xrays, part, side, most) for part, most in (("train", count), ("test", 40))
            )
        else:
            learn, test = (of_knees(first, most, side, dims) for first, most in ((0, count), (1000, arguments.pairs)))
        np.savez(file, learn=learn, test=test)
    kept = np.load(file, allow_pickle=False)
    if len(kept["test"]) < arguments.pairs:
        raise SystemExit(f"{file} holds {len(kept['test'])} images to test on, asked {arguments.pairs}; delete it")
    return tuple(torch.from_numpy(kept[part])[:, None] * 2 - 1 for part in ("learn", "test"))  # type: ignore[return-value]


def of_knees(first: int, count: int, side: int, dims: int) -> np.ndarray:
    """Healthy and worn knees, from 0 to 1."""
    drawn = []
    for person in range(first, first + count):
        random = np.random.default_rng([7, person])
        severe = random.uniform(0, 1, len(FINDINGS)) * (random.random(len(FINDINGS)) < 0.4)
        lesions = Lesions(**dict(zip(FINDINGS, severe.tolist(), strict=True)))
        drawn.append(
            draw_knee(
                lesions, person=person, knee=0, scan=person, side="right", site=SITES[0], seed=3, dims=dims, size=side
            ).image
        )
    return np.stack(drawn).astype(np.float32)


def of_xrays(data: Path, part: str, side: int, most: int) -> np.ndarray:
    """Normal people, one image each, from 0 to 1."""
    table = pd.read_csv(data / "cohort.csv", dtype=str)
    rows = table[(table["label"] == "0") & (table["split"] == part)].drop_duplicates("subject").head(most)
    read = [
        PIL.Image.open(data / path).convert("L").resize((side, side), PIL.Image.Resampling.BOX) for path in rows["path"]
    ]
    return np.stack([np.asarray(each, dtype=np.float32) / 255 for each in read])


def itk_demons(moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """SimpleITK's diffeomorphic demons at a quarter, half and all of the size; smoothing chosen on other images."""
    import SimpleITK as itk

    itk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    whole = [itk.GetImageFromArray(np.ascontiguousarray(each.T)) for each in (moving, fixed)]
    field = None
    for factor, rounds in ((4, 100), (2, 100), (1, 60)):
        blurred = [itk.SmoothingRecursiveGaussian(each, factor / 2) if factor > 1 else each for each in whole]
        first, still = (itk.Shrink(each, [factor] * moving.ndim) for each in blurred)
        demons = itk.DiffeomorphicDemonsRegistrationFilter()
        demons.SetNumberOfIterations(rounds)
        demons.SetStandardDeviations(2.0)
        if field is None:
            field = demons.Execute(still, first)
        else:
            field = demons.Execute(still, first, itk.Resample(field, still, itk.Transform(), itk.sitkLinear, 0.0))
    assert field is not None
    found: np.ndarray = itk.GetArrayFromImage(field).T.astype(np.float32)
    return found


def syn(moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """dipy's SyN with local cross-correlation, as its tutorial sets it."""
    from dipy.align.imwarp import SymmetricDiffeomorphicRegistration
    from dipy.align.metrics import CCMetric

    asked = SymmetricDiffeomorphicRegistration(CCMetric(moving.ndim), level_iters=[100, 50, 25])
    asked.verbosity = 0
    mapping = asked.optimize(fixed.astype(np.float64), moving.astype(np.float64))
    found: np.ndarray = np.moveaxis(np.asarray(mapping.get_forward_field()), -1, 0).astype(np.float32)
    return found


if __name__ == "__main__":
    main()
