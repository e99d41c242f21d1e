"""What stands beside an exported model: how it is used without this program, in words and as a script."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

ORDER = (
    "1. Colours become 0.299 red + 0.587 green + 0.114 blue where one channel is asked for; an axis of a volume that "
    "is 1 long is dropped.",
    "2. Turn a volume so that its axes point to `orientation` (RAS: right, front, up; `keep`: as they lie); pictures "
    "stay, rows first.",
    "3. With mask `given`: cut out the box around the mask.",
    "4. Lay a grid of `size` pixels centre on centre. `pad`: one step (in mm) for all axes, the largest of length / "
    "size, and of `spacing` where given; `crop`: steps of `spacing`, or of a voxel; `resize`: each axis its own. Where "
    "a step is one voxel, the grid lies on voxels, half a voxel down if need be.",
    "5. Along each axis whose step is four voxels or more, average blocks of step // 2 voxels, the last filled up with "
    "its edge; then where the step is more than one, in voxels or blocks, blur by a Gaussian of (step - 1) / 2, edges "
    "repeated; interpolate linearly.",
    "6. `percentile`: the `percentiles` of what lies on the image (of the foreground; within the mask) become -1 "
    "and 1; `window`: its two ends; `range`: 0 and 255, or 65535 of a picture of 16 bits; `zscore`: four standard "
    "deviations from the mean. Clip to [-1, 1]. `none`: values as they are.",
    "7. What lies beside the image, outside the mask, or is background by Otsu, is -1 (with `none` beside the image "
    "its least value); pixels inside a mask are at least -1 + 1/128.",
    "8. With dims 2 a volume goes in slice by slice along `slices`; its value is the mean over slices, with a mask "
    "weighted by the pixels inside. `context`: as many slices either side follow each as channels, nearest first, "
    "below before above, and last a plane of its height, from -1 to 1.",
)
HERE = Path(__file__)
SHIPPED = {"score.py": HERE.with_name("stranger.py"), "prepare.py": HERE.with_name("prepare.py")}
"""What goes along as scripts: they import nothing of this program, only one the other."""
TITLES = {
    "detector": "An anomaly detector",
    "detectors": "Several anomaly detectors",
    "classifier": "A classifier",
    "explainer": "An explainer",
    "segmenter": "A segmenter",
}
CALIBRATED = """## What a value means

`calibration` in `preprocessing.json` holds the values of images of {people} held-out normal people and a weight of
each, which sum to 1 for each person.

p = (1 + sum of the weights of values >= the new one) / (1 + people)

is the share of people at least as abnormal; it cannot fall below 1 / (1 + people). z is the quantile of the standard
normal at (values below + half of those alike + 1/2) / (1 + people), straight between values, and no further from 0 than
that of people / (1 + people); `score.py` has it line by line.

{unit}
"""
UNITS = {
    "image": "Each value is of one image (`unit` is `image`): several prepared images in an .npy have a row each.",
    "volume": "Each value is the mean over the slices of a volume (`unit` is `volume`), so several prepared images in "
    "an .npy are the slices of one volume and have one row; with a mask each weighs as many pixels as are above -1.",
    "either": "Some values are of single pictures, some are means over the slices of volumes (`unit` is `either`), and "
    "nobody can tell which several prepared images in an .npy are: each has a row with neither z nor p. Pictures "
    "and volumes as files have both.",
}
"""Of what a value of a held-out normal is."""
TOGETHER = """
Of several detectors each value becomes such a quantile first, one a standard deviation beyond all normals; `value` is
their mean, z its quantile among the means of the normals. For p the new image is ranked together with the normals.
"""


def scripts() -> dict[str, str]:
    """The texts of the scripts that go along, by their names there."""
    texts = {name: path.read_text(encoding="utf-8") for name, path in SHIPPED.items()}
    return {
        name: text.replace("from anomaly.exporting.prepare import", "from prepare import")
        for name, text in texts.items()
    }


def readme(told: Mapping[str, Any]) -> str:
    """README.md of an exported model."""
    shape = ", ".join(map(str, told["input"]["image"]))
    outputs = "\n".join(f"- out: `{name}`, {words}" for name, words in told["outputs"].items())
    steps = "\n".join(ORDER)
    inside = "" if told["outside_of_a_mask"] is None else "Pixels outside the mask must be exactly -1.\n"
    says = f"\n{told['says']}\n" if told.get("says") else ""
    return f"""# {TITLES[told["kind"]]} as an ONNX model

Made by `anomaly export` of a run of `{told["method"]}`; opset {told["opset"]}, of ONNX's own operators alone. A
research tool, not a medical device.

- in: `image`, float32 ({shape}), in [-1, 1]; n is free
{outputs}

{_measured(told["compared"])}
{inside}{says}
```
python score.py IMAGE [IMAGE ...] --out scores
```

needs numpy and onnxruntime, and Pillow for pictures, nibabel for volumes. It {_taken(told["preprocessing"])} Prepared
images, float32 ({shape}), are taken as .npy, and a folder stands for the images in it. {_left(told)} The folder appears
when all is done. An image that cannot be used has its reason in the column `error`, and the exit status is 1.
`example.npz` holds two images that were made, of no person, with what is expected of them.

## How an image is prepared

With the settings in `preprocessing.json`, by `prepare.py`:

{steps}

{_meaning(told)}"""


def _measured(compared: Mapping[str, Any]) -> str:
    """How far the model is from the run."""
    differences = compared["differences"]
    if differences is None:
        return "**Not verified**: nobody compared it with the run it was made of, since onnxruntime was not installed."
    return (
        f"Compared with PyTorch over {compared['images']}, it differed by at most "
        f"{in_words(differences, compared['shares_of'])}; more than {compared['tolerance']:g} is refused."
    )


def in_words(differences: Mapping[str, float], shares_of: Mapping[str, str]) -> str:
    """The largest difference of the results that are told as a share of the same, and which these are if not all."""
    alike: dict[str, list[str]] = {}
    for name in differences:
        alike.setdefault(shares_of[name], []).append(name)
    told = [
        f"{max(differences[name] for name in names):.1e} of {words}" + f" [{', '.join(names)}]" * (len(alike) > 1)
        for words, names in alike.items()
    ]
    return "; ".join(told)


def _taken(asked: Mapping[str, Any]) -> str:
    """Which files the script takes."""
    refused = [] if asked["mask"] == "none" else ["a mask"]
    refused += [] if asked["foreground"] == "none" else ["a foreground"]
    if not refused:
        return "takes PNG, JPEG, BMP and NIfTI, and prepares them as below."
    told = " and ".join(refused)
    return f"takes prepared images as .npy alone: the run was trained with {told}, which it does not make."


def _left(told: Mapping[str, Any]) -> str:
    """What the script leaves."""
    columns = ["value", "z", "p", *(told["numbers"] if told["kind"] == "detectors" else [])]
    columns = columns if "calibration" in told else [*told["numbers"]]
    columns += [f"pixels_{name}" for name in told.get("labels", {}).get("names", [])]
    arrays = [*told["arrays"], *(["labels"] if "labels" in told else [])]
    return (
        f"`scores/scores.csv` has {', '.join(f'`{each}`' for each in columns)} of each image (of the slices of a "
        f"volume the mean), and beside it lie {', '.join(f'`NAME_{each}.npy`' for each in arrays) or 'no arrays'}, on "
        "the prepared grid."
    )


def _meaning(told: Mapping[str, Any]) -> str:
    """What numbers mean."""
    if "calibration" not in told:
        return ""
    found = CALIBRATED.format(people=told["calibration"]["people"], unit=UNITS[told["calibration"]["unit"]])
    return found + (TOGETHER if told["kind"] == "detectors" else "")
