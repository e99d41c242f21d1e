"""One run or several as one judge: the mean of their calibrated scores, calibrated again together."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from anomaly.cohorts.masks import COLUMN as MASK
from anomaly.errors import RunError, UnreadableImage
from anomaly.images import Image
from anomaly.images.prepared import Prepared, scaled
from anomaly.images.preprocessing import Preprocessing
from anomaly.runs.calibration import EXCEEDING, capped, joint_p, mean_of_slices, normal_score
from anomaly.runs.run import Run
from anomaly.scoring.grid import cell_means


@dataclass(frozen=True)
class Verdict:
    """What is said of one image.

    Args:
        value: the anomaly value of a single run; for several the mean of their departures.
        z: on the scale of a standard normal among normals, as far as these reach; the departure where it is to go on.
        departure: the same without an end; what an ensemble averages.
        p_value: share of held-out normals at least as abnormal.
        maps: one map for each run, (S, 1, *size), in standard deviations of normal variation.
        cells: means of the map over the cells of a grid, (8, 8); over slices and runs.
        parts: further columns of the table of scores.
    """

    value: float
    z: float
    departure: float
    p_value: float
    maps: tuple[np.ndarray, ...]
    cells: np.ndarray
    parts: dict[str, float] = field(default_factory=dict)


class Ensemble:
    """Runs that judge the same images.

    Args:
        runs: at least one.
        endless: whether z goes on beyond all normals, as in tables that older versions began.

    Raises:
        RunError: several runs that were calibrated on different subjects, so that their joint score has no
            common normals to be calibrated by; or the same run twice.
    """

    def __init__(self, runs: Sequence[Run], endless: bool = False) -> None:
        if not runs:
            raise RunError("no run was given to score with")
        self.runs, self.endless = list(runs), endless
        self.identities = [run.identity for run in runs]
        first = runs[0].calibration
        for run in runs[1:]:
            if list(run.calibration.subjects) != list(first.subjects):
                raise RunError(
                    f"{run.folder} and {runs[0].folder} were calibrated on different subjects; runs of an "
                    "ensemble must be trained on the same --normals with the same shares held out"
                )
        if len(set(self.identities)) < len(runs):
            raise RunError(
                "the same run was given twice, or two trainings that came out the same: in methods in closed form, as "
                "texture, there is no chance, and --seed changes nothing; leave one out"
            )
        masked = {run.preprocessing.mask for run in runs}
        if len(masked) > 1:
            raise RunError("some of the runs were trained with masks and some without; train all of an ensemble alike")
        self.masked = masked == {"given"}
        self._weights = first.weights
        self._values = np.stack([run.calibration.values for run in runs])
        own = [run.calibration.departure(run.calibration.values) for run in runs]
        self._means = np.mean(own, axis=0)

    def prepare(self, image: Image) -> tuple[Prepared, ...]:
        """The image as each run takes it; runs that prepare alike share one.

        Raises:
            UnreadableImage: a run's preprocessing does not suit the image, or leaves it in another shape than
                those the run was trained on.
        """
        made: dict[Preprocessing, Prepared] = {}
        for run in self.runs:
            if run.preprocessing not in made:
                made[run.preprocessing] = scaled(run.preprocessing.apply(image), image.path)
            shape, expected = made[run.preprocessing].pixels.shape[1:], run.detector.shape_
            if shape != expected:
                raise UnreadableImage(
                    f"{image.path}: has shape {shape} once prepared; expected {expected} (C, *space), as {run.folder} "
                    "was trained on: bring it to that size, or train with a --size"
                )
        return tuple(made[run.preprocessing] for run in self.runs)

    @property
    def columns(self) -> list[str]:
        """Names of the further columns, in order."""
        return [*self._further(), *([MASK] if self.masked else [])]

    @property
    def map_limits(self) -> dict[str, float] | None:
        """What at most so great a share of held-out normals' pixels exceed, by that share; None where a run is older.

        Of several runs the mean: their maps are averaged, so that fewer pixels lie beyond.
        """
        limits = [run.calibration.map_limits for run in self.runs]
        if any(each is None for each in limits):
            return None
        means = np.mean(np.stack([each for each in limits if each is not None]), axis=0)
        return {f"{share:g}": float(limit) for share, limit in zip(EXCEEDING, means, strict=True)}

    def _further(self) -> list[str]:
        if len(self.runs) > 1:
            return [*(f"z_{i}" for i in range(1, len(self.runs) + 1)), *BASELINES]
        return [*(f"value_{name}" for name in self._parts()), *BASELINES]

    def judge(self, prepared: Sequence[tuple[Prepared, ...]]) -> list[Verdict]:
        """One verdict for each image, as given by `prepare`."""
        by_run = [_judge_one(run, [ready[i] for ready in prepared]) for i, run in enumerate(self.runs)]
        if self.endless:
            by_run = [[replace(opinion, z=opinion.departure) for opinion in opinions] for opinions in by_run]
        return [self._join(opinions) for opinions in zip(*by_run, strict=True)]

    def _join(self, opinions: Sequence[Verdict]) -> Verdict:
        if len(opinions) == 1:
            return opinions[0]
        value = float(np.mean([opinion.departure for opinion in opinions]))
        raw = np.array([opinion.value for opinion in opinions])
        parts = {f"z_{i}": opinion.z for i, opinion in enumerate(opinions, 1)}
        parts |= {name: opinions[0].parts[name] for name in BASELINES}
        z, departure = (
            float(score(self._means, np.array([value]), self._weights)[0]) for score in (capped, normal_score)
        )
        p = joint_p(self._values, raw, self._weights)
        cells = np.mean([opinion.cells for opinion in opinions], axis=0)
        z = departure if self.endless else z
        return Verdict(value, z, departure, p, tuple(opinion.maps[0] for opinion in opinions), cells, parts)

    def _parts(self) -> list[str]:
        run = self.runs[0]
        shape = run.detector.shape_
        return list(run.judge(np.zeros((1, *shape), dtype=np.float32)).parts)


BASELINES = ("baseline_intensity", "baseline_mean_image")


def _judge_one(run: Run, prepared: Sequence[Prepared]) -> list[Verdict]:
    """A run's verdict on images; the value of a volume taken slice by slice is the mean over its slices."""
    pixels = np.concatenate([ready.pixels for ready in prepared])
    score, own = run.judge(pixels), pixels[:, : run.preprocessing.channels]
    of = np.repeat(np.arange(len(prepared)), [len(ready.pixels) for ready in prepared])
    inside = np.concatenate([ready.foreground for ready in prepared]) if run.detector.masked_ else None
    areas = np.ones(len(of)) if inside is None else np.concatenate([ready.areas for ready in prepared])
    maps = score.map.numpy()
    cells = cell_means(maps)

    def per_image(values: np.ndarray) -> np.ndarray:
        return mean_of_slices(values, of, areas)

    values = per_image(score.value.numpy())
    told = run.calibration
    z, departure, p = told.z(values), told.departure(values), told.p_value(values)
    columns = {f"value_{name}": per_image(part.numpy()) for name, part in score.parts.items()}
    columns["baseline_intensity"] = per_image(_mean(own, inside))
    columns["baseline_mean_image"] = per_image(_mean(np.abs(own - run.calibration.mean_image[: own.shape[1]]), inside))
    return [
        Verdict(
            float(values[i]), float(z[i]), float(departure[i]), float(p[i]), (maps[of == i],), cells[of == i].mean(0),
            {name: float(column[i]) for name, column in columns.items()},
        )
        for i in range(len(prepared))
    ]  # fmt: skip


def _mean(images: np.ndarray, inside: np.ndarray | None) -> np.ndarray:
    """Of each image (N, C, *space) the mean over the pixels that count, bool; None for all."""
    flat = images.reshape(len(images), -1)
    if inside is None:
        return flat.mean(1, dtype=np.float64)
    counted = np.broadcast_to(inside, images.shape).reshape(flat.shape)
    return flat.mean(1, dtype=np.float64, where=counted)
