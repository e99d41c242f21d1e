"""The folder a training leaves behind: written last, checked first, and nothing in it is code."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch

from anomaly.detectors import Detector, Score
from anomaly.errors import RunError
from anomaly.images.preprocessing import Preprocessing
from anomaly.runs.arrays import ImageScores, of_images, prepared, refuse_unprepared
from anomaly.runs.calibration import Calibration, mean_of_slices
from anomaly.runs.checks import agree, prepared_as
from anomaly.runs.describing import images_in_short, method_in_short, preprocessing_in_short, smallest_p
from anomaly.runs.facts import DETECTOR, expect, read_facts, verify, write_facts
from anomaly.runs.likeness import Likeness
from anomaly.runs.methods import find, method_of
from anomaly.runs.plans import ASKED
from anomaly.shown import Readable
from anomaly.training.batches import chunks

WEIGHTS, CALIBRATION, COHORT = "weights.safetensors", "calibration.safetensors", "cohort.csv"
LIKENESS = "likeness.safetensors"
CHECKED = (WEIGHTS, CALIBRATION, COHORT)
COLUMNS = ("id", "path", "subject", "split", "slices")


@dataclass(frozen=True, repr=False)
class Run(Readable):
    """A trained detector with what it needs to judge an image: preprocessing and calibration.

        run = anomaly.Run.open("runs/knee")
        found = run.score("knee.png")             # or an array as the file holds it, or a list of either
        found.value, found.z, found.p_value, found.maps[0]

    Whole folders and tables are scored by `anomaly.score`, which writes tables and heatmaps.

    Args:
        folder: where it lies.
        facts: what `run.json` says: method, settings, preprocessing, data, seed, versions.
        likeness: what kind of images its normals were; None of a run that an older version trained.
    """

    folder: Path
    facts: dict[str, Any]
    detector: Detector
    preprocessing: Preprocessing
    calibration: Calibration
    likeness: Likeness | None = None

    def _in_short(self) -> tuple[str, dict[str, object]]:
        people = self.calibration.people
        return method_in_short(self.detector), {
            "normals": images_in_short(self.facts),
            "prepared": preprocessing_in_short(self.preprocessing),
            "calibrated": f"by {people} subjects, so the smallest p is {smallest_p(people)}",
            "folder": self.folder,
        }

    @property
    def identity(self) -> str:
        """SHA-256 of the weights: the same for a moved or renamed folder."""
        return str(self.facts["files"][WEIGHTS])

    @property
    def normals(self) -> pd.DataFrame:
        """Its `cohort.csv`, all as text: the images it was made with, their subject, path, split and slices."""
        try:
            found = pd.read_csv(self.folder / COHORT, dtype=str, keep_default_na=False, index_col=False)
        except ValueError as error:  # pandas' own errors and bad encodings are ValueErrors
            raise RunError(
                f"{self.folder / COHORT} cannot be read ({str(error).strip()}); copy the run again"
            ) from error
        lacking = [name for name in COLUMNS if name not in found]
        if lacking:
            raise RunError(f"{self.folder / COHORT} has no column {lacking[0]}; copy the run again, or train again")
        return found

    def refuse_context(self) -> Self:
        """This run, unless its images come with context, which whoever draws or explains makes nothing of.

        Raises:
            RunError: they do.
        """
        if self.preprocessing.context is not None:
            raise RunError(f"{self.folder} was trained with --context, of which this makes nothing; give a run without")
        return self

    def score(self, images: Any, *, affine: np.ndarray | None = None, mask: Any = None) -> ImageScores:
        """Score one image or several that are at hand, prepared as the run was trained.

        Args:
            images: a file; an array in the file's own units, (rows, columns), (rows, columns, 3) of whole numbers in
                colours, or (i, j, k) where the run takes volumes; a batch (N, C, rows, columns) or (N, C, i, j, k); a
                tensor on any device; a picture of PIL; or a list of such images.
            affine: (4, 4), index to millimetres, RAS+, of arrays that are volumes; left out, axes are taken to run to
                the right, to the front and up, a millimetre a voxel.
            mask: of a run that was trained with masks: a file or an array (*space) of one image, a list for several.

        Returns:
            Value, z and p of each image, and its map on its own grid.

        Raises:
            AnomalyError: something else, or a shape that could mean several things.
            UnreadableImage: an image that cannot be read, or does not suit the preprocessing.
        """
        ready = prepared(images, self.preprocessing, self.detector.shape_, affine, mask)
        found, of = self.judge(np.concatenate([each.pixels for each in ready])), of_images(ready)
        areas = np.concatenate([each.areas for each in ready]) if self.detector.masked_ else np.ones(len(of))
        values = mean_of_slices(found.value.numpy(), of, areas)
        maps = [each.restore(found.map.numpy()[of == k]) for k, each in enumerate(ready)]
        return ImageScores(values, self.calibration.z(values), self.calibration.p_value(values), maps)

    def judge(self, pixels: np.ndarray | torch.Tensor) -> Score:
        """Score prepared images (N, C, *size) in [-1, 1]; of images as files hold them see `score`.

        The map comes back in units of normal variation, on the CPU: (error - mean) / sd of the held-out normals at each
        pixel, so it may be negative where an image is more normal than most; outside a mask it is 0.

        Raises:
            AnomalyError: another shape than the run was trained on, or values beyond [-1, 1].
        """
        refuse_unprepared(pixels)
        scores = [self.detector.score(x) for x in chunks(pixels, self.detector.device)]
        maps = torch.cat([score.map for score in scores]).float().cpu().numpy()
        values = torch.cat([score.value for score in scores]).float().cpu()
        parts = {name: torch.cat([score.parts[name] for score in scores]).float().cpu() for name in scores[0].parts}
        z = torch.from_numpy(self.calibration.map_z(maps))
        inside = self.detector.within(torch.as_tensor(pixels, device="cpu"))
        return Score(z if inside is None else z * inside, values, parts)

    @classmethod
    def open(cls, folder: Path | str, *, device: str = "cpu", method: str | None = None) -> Self:
        """Load a run after checking every file against what `run.json` recorded.

        Args:
            folder: what `learn` wrote.
            device: "auto", "cpu", "cuda", ...
            method: needed only for a user's own method: FILE.py:CLASS again. A run never loads code by itself;
                the file must be the one it was trained with.

        Raises:
            RunError: no run there, an unfinished one, a damaged or edited one, or one of another version.
        """
        folder = Path(folder)
        facts = read_facts(folder)
        expect(folder, facts, DETECTOR)
        name = method_of(facts, method, folder)
        verify(folder, facts)
        preprocessing = prepared_as(folder, facts)
        agree(folder / WEIGHTS, facts)
        calibration = Calibration.load(folder / CALIBRATION, tuple(facts["shape"]))
        detector = find(name).load(folder / WEIGHTS, torch_device(device))
        told = LIKENESS in facts["files"]
        likeness = Likeness.load(folder / LIKENESS, preprocessing.dims) if told else None
        return cls(folder, facts, detector, preprocessing, calibration, likeness)


def write_run(
    folder: Path,
    *,
    detector: Detector,
    calibration: Calibration,
    likeness: Likeness | None,
    plan: Mapping[str, Any],
    code: Mapping[str, str] | None,
    data: Mapping[str, Any],
    device: str,
) -> None:
    """Write weights and calibration, then `run.json`, whose presence says that the run is complete.

    Args:
        folder: the run folder; `cohort.csv` lies there already.
        detector: fitted.
        calibration: by held-out normals.
        likeness: what kind of images all normals are; None where their cache does not tell.
        plan: what was asked for: method, settings, preprocessing, seed, shares held out, data.
        code: path and SHA-256 of a user's own method, as they were when training began.
        data: counts of images and subjects.
        device: where it was trained.
    """
    detector.save(folder / WEIGHTS)
    calibration.save(folder / CALIBRATION)
    if likeness is not None:
        likeness.save(folder / LIKENESS)
    used = detector.settings()
    asked = {} if used == plan["settings"] else {"settings": used, ASKED: plan["settings"]}
    facts = {**plan, **asked, "code": code, "shape": list(detector.shape_), "data": data}
    write_facts(folder, facts, device=device, checked=CHECKED if likeness is None else (*CHECKED, LIKENESS))


def torch_device(device: str) -> torch.device:
    """ "auto" -> the best device here; anything else by its name."""
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise RunError(
            f"device {device!r} cannot be used here ({str(error).splitlines()[0]}); take --device auto or cpu"
        ) from error
