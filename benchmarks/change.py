"""Maps of change between two visits, against the lesions that experts marked as changed, within the brain.

    python -m benchmarks.change FOLDER

FOLDER holds, of each patient, long_patientNN_study1_FLAIR.nii.gz, _study2_FLAIR, the same of T2W and T1W,
long_patientNN_brainmask.nii.gz and long_patientNN_lesionchange.nii.gz (Lesjak et al. 2016). A setting is chosen on one
patient by AUROC or by AP and reported on the other, both ways; the rows of the defaults are for both.
"""

import argparse
from itertools import product
from pathlib import Path

import numpy as np
from nibabel.affines import voxel_sizes

from anomaly.changes.lesions import KINDS, lesion_changes, lesion_counts
from anomaly.changes.maps import change_map, joined
from anomaly.changes.matching import matched
from anomaly.changes.regions import changed
from anomaly.detectors.irregularity import irregularity_map
from anomaly.images import read
from anomaly.progression import irregular
from anomaly.statistics.metrics import auroc, average_precision
from anomaly.statistics.regions import labelled
from benchmarks.coverage import heading, line
from benchmarks.irregularity import blurred

CONTRASTS = {"FLAIR": 1, "T2W": 1, "T1W": -1}
GRID = tuple(product((0.6, 0.9, 1.2, 1.5, 1.8), ("quantiles", "line", "none")))


class Patient:
    """Two visits in one space, the brain, and what changed."""

    def __init__(self, folder: Path, name: str) -> None:
        place = f"{folder}/long_{name}"
        first = read(Path(f"{place}_study1_FLAIR.nii.gz"))
        self.name, self.spacing = name, voxel_sizes(first.affine)
        self.inside = read(Path(f"{place}_brainmask.nii.gz")).pixels[0] > 0
        self.truth = read(Path(f"{place}_lesionchange.nii.gz")).pixels[0] > 0
        self.visits = {
            contrast: [read(Path(f"{place}_study{k}_{contrast}.nii.gz")).pixels[0] for k in (1, 2)]
            for contrast in CONTRASTS
        }

    def map(self, contrast: str = "FLAIR", smooth: float = 1.2, match: str = "quantiles") -> np.ndarray:
        """Our map of change."""
        given = {"inside": self.inside, "spacing": self.spacing, "smooth": smooth, "match": match}
        return change_map(*self.visits[contrast], **given).z

    def judged(self, found: np.ndarray) -> tuple[float, float]:
        """AUROC and AP of the size of a map."""
        marked, values = self.truth[self.inside].astype(int), np.abs(found[self.inside])
        return auroc(marked, values), average_precision(marked, values)


def maps_of(patient: Patient) -> dict[str, np.ndarray]:
    """Floors, then ours with the defaults."""
    first, second = patient.visits["FLAIR"]
    inside = patient.inside
    scaled = [(each - each[inside].mean()) / each[inside].std() for each in (first, second)]
    apart = scaled[1] - scaled[0]
    irregular = [irregularity_map(each, inside, stretch=False) for each in (first, second)]
    ours = {contrast: patient.map(contrast) for contrast in CONTRASTS}
    return {
        "size of the difference": second - first,
        "the same after z-scoring": apart,
        "that, blurred by 1 voxel": blurred(apart, inside, 1.0),
        "FLAIR of the second visit": second,
        "irregularity of the second visit": irregular[1],
        "size of the difference of irregularity": irregular[1] - irregular[0],
        "change_map of FLAIR, unsmoothed": patient.map(smooth=0),
        "change_map of FLAIR": ours["FLAIR"],
        "joined FLAIR, T2": joined([ours["FLAIR"], ours["T2W"]], [1, 1], inside),
        "joined FLAIR, T2, T1": joined(list(ours.values()), list(CONTRASTS.values()), inside),
    }


def lesions_found(patient: Patient, threshold: float) -> str:
    """Dice, regions told, and changed lesions of at least 50 mm3 of which any voxel is told."""
    z, voxel = patient.map(), float(np.prod(patient.spacing))
    told = changed(z, threshold, smallest=50, voxel=voxel) != 0
    dice = 2 * (told & patient.truth).sum() / (told.sum() + patient.truth.sum())
    labels, count = labelled(patient.truth)
    large = [n for n in range(1, count + 1) if (labels == n).sum() * voxel >= 50]
    hits = sum(bool(told[labels == n].any()) for n in large)
    regions, number = labelled(told)
    false = number - np.unique(regions[patient.truth & told]).size
    return f"Dice {dice:.2f}, {hits} of {len(large)} lesions found, {false} of {number} regions hold none"


def lesions_counted(patient: Patient) -> str:
    """Lesions of irregularity at both visits, as `--maps irregularity` cuts them, against what experts marked."""
    first, second = (np.where(patient.inside, each, 0) for each in patient.visits["FLAIR"])
    alike = matched(first, second, patient.inside, "line")
    before, after = (each > irregular.AT for each in irregular.irregularities(first, alike, patient.inside))
    counts = lesion_counts(lesion_changes(before, after, voxel=float(np.prod(patient.spacing)), smallest=50))
    differ = before != after
    dice = 2 * (differ & patient.truth).sum() / (differ.sum() + patient.truth.sum())
    volumes = f"{counts['volume_before']:.0f} to {counts['volume_after']:.0f} mm3"
    return f"{volumes}, {', '.join(f'{counts[kind]} {kind}' for kind in KINDS)}; Dice of what differs {dice:.2f}"


def main() -> None:
    """Print a row a map, the settings chosen both ways, and what thresholds find."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    names = sorted(file.name[5:14] for file in folder.glob("long_*_lesionchange.nii.gz"))
    patients = [Patient(folder, name) for name in names]
    heading(["map", *(f"{patient.name} {what}" for patient in patients for what in ("AUROC", "AP"))])
    maps = [maps_of(patient) for patient in patients]
    for name in maps[0]:
        figures = [each for patient, found in zip(patients, maps, strict=True) for each in patient.judged(found[name])]
        line([name, *(f"{each:.3f}" for each in figures)])
    table = {setting: [patient.judged(patient.map("FLAIR", *setting)) for patient in patients] for setting in GRID}
    for (which, other), by in product(((0, 1), (1, 0)), (0, 1)):
        best = max(GRID, key=lambda setting: table[setting][which][by])
        told = "AUROC {:.3f}, AP {:.3f}".format(*table[best][other])
        what = ("AUROC", "AP")[by]
        print(f"chosen on {names[which]} by {what}: smooth {best[0]}, {best[1]}; on {names[other]}: {told}")
    for patient, threshold in product(patients, (3, 4, 5, 6)):
        print(f"{patient.name}, |z| > {threshold}: {lesions_found(patient, threshold)}")
    for patient in patients:
        print(f"{patient.name}, irregularity above {irregular.AT}: {lesions_counted(patient)}")


if __name__ == "__main__":
    main()
