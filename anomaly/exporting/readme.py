"""What stands beside an exported model: how it is used without this program, in words and as a script."""

from collections.abc import Mapping
from typing import Any

ORDER = (
    "1. Turn a volume so that its axes point to `orientation` (RAS: right, front, up); pictures stay, rows first.",
    "2. With mask `given`: cut out the box around the mask.",
    "3. Lay a grid of `size` pixels centre on centre. `pad`: one step (in mm) for all axes, the largest of length / "
    "size, and of `spacing` where given; `crop`: steps of `spacing`, or of a voxel; `resize`: each axis its own.",
    "4. Along each axis whose step is more than a voxel, blur by a Gaussian of (step - 1) / 2 voxels; interpolate "
    "linearly.",
    "5. Colours become 0.299 red + 0.587 green + 0.114 blue where one channel is asked for.",
    "6. `percentile`: the `percentiles` of what lies on the image (of the foreground; within the mask) become -1 "
    "and 1; `window`: its two ends; `range`: the ends of the file's type; `zscore`: four standard deviations from the "
    "mean. "
    "Clip to [-1, 1].",
    "7. What lies beside the image, outside the mask, or is background by Otsu, is -1; pixels inside a mask are at "
    "least -1 + 1/128.",
    "8. With dims 2 a volume goes in slice by slice along `slices`; its value is the mean over slices, with a mask "
    "weighted by the pixels inside.",
)

SCRIPT = '''"""Score one image by the model in this folder: python score.py IMAGE (PNG, JPEG, NIfTI, prepared .npy)."""
import json, sys
from pathlib import Path
import numpy as np, onnxruntime

here = Path(__file__).parent
facts = json.loads((here / "preprocessing.json").read_text())
how, told = facts["preprocessing"], facts["calibration"]


def matrix(count, size, step):  # pixels of the file -> of the grid
    at, k = (count - 1) / 2 + step * (np.arange(size) - (size - 1) / 2), np.arange(count)
    between = np.maximum(0, 1 - abs(np.clip(at, 0, count - 1)[:, None] - k))
    if step > 1:
        sigma = (step - 1) / 2
        reach = int(4 * sigma + 0.5)
        blur, bell = np.zeros((count, count)), np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
        for j, weight in zip(range(-reach, reach + 1), bell / bell.sum()):
            np.add.at(blur, (k, np.clip(k + j, 0, count - 1)), weight)
        between = between @ blur
    return between, (at >= -0.5) & (at <= count - 0.5)


def prepared(path):
    if path.endswith(".npy"):
        return np.load(path).astype(np.float32)
    if how["mask"] != "none" or how["foreground"] != "none" or how["context"] is not None or how["channels"] != 1:
        sys.exit("masks, foregrounds, context and several channels: prepare as README.md says, and give an .npy")
    if path.endswith((".nii", ".nii.gz")):
        import nibabel
        file = nibabel.load(path)
        letters = how["orientation"] if how["orientation"] != "keep" else "".join(nibabel.aff2axcodes(file.affine))
        turn = nibabel.orientations.axcodes2ornt(letters)
        turn = nibabel.orientations.ornt_transform(nibabel.io_orientation(file.affine), turn)
        file = file.as_reoriented(turn)
        values, voxel, top = file.get_fdata(dtype=np.float32), np.array(file.header.get_zooms()[:3], float), 255
    else:
        from PIL import Image
        picture = Image.open(path)
        values, top = np.asarray(picture, np.float32), 255 if picture.mode in ("L", "RGB") else 65535
        values = values @ np.float32([0.299, 0.587, 0.114]) if values.ndim == 3 else values
        voxel = np.ones(2)
    size = np.array(how["size"])
    if values.ndim != len(size):
        sys.exit("the model takes %d axes of space; cut the image into slices as README.md says" % len(size))
    wanted = None if how["spacing"] is None else np.array(how["spacing"])
    steps = values.shape / size
    if how["fit"] == "pad":
        length = np.array(values.shape) * voxel
        mm = (length / size).max() if wanted is None else wanted * max(1, (length / size / wanted).max())
        steps = mm / voxel
    if how["fit"] == "crop":
        steps = np.ones(len(size)) if wanted is None else wanted / voxel
    there = np.ones(tuple(size), bool)
    for axis, step in enumerate(steps):
        weights, covered = matrix(values.shape[axis], size[axis], step)
        values = np.moveaxis(np.tensordot(weights, values, (1, axis)), 0, axis)
        there &= covered.reshape([-1 if each == axis else 1 for each in range(len(size))])
    part = values[there]
    low, high = {"percentile": lambda: np.percentile(part, how["percentiles"]), "window": lambda: how["window"],
                 "range": lambda: (0, top), "none": lambda: (-1, 1),
                 "zscore": lambda: (part.mean() - 4 * part.std(), part.mean() + 4 * part.std())}[how["intensity"]]()
    values = np.clip((values - low) * 2 / (high - low) - 1, -1, 1)
    return np.where(there, values, -1).astype(np.float32)[None, None]


model = onnxruntime.InferenceSession(str(here / "model.onnx"), providers=["CPUExecutionProvider"])
value, z = model.run(["value", "map_z"], {"image": prepared(sys.argv[1])})
for each in value:
    above = sum(w for v, w in zip(told["values"], told["weights"]) if v >= each)
    print("value %.6g   p %.4f" % (each, (1 + above) / (sum(told["weights"]) + 1)))
np.save("map_z.npy", z)
'''


def readme(told: Mapping[str, Any]) -> str:
    """README.md of an exported model."""
    shape, compared = told["input"]["image"], told["compared"]
    differences = compared["differences"]
    measured = (
        "It was not compared with PyTorch."
        if differences is None
        else "Compared with PyTorch over "
        f"{compared['images']}, it differed by at most {max(differences.values()):.1e} of the largest value."
    )
    steps = "\n".join(ORDER)
    inside = "" if told["outside_of_a_mask"] is None else "Pixels outside the mask must be exactly -1.\n"
    return f"""# An anomaly detector as an ONNX model

Made by `anomaly export` of a run of `{told["method"]}`; opset {told["opset"]}, of ONNX's own operators alone. A
research tool, not a medical device.

- in: `image`, float32 ({", ".join(map(str, shape))}), in [-1, 1]; n is free
- out: `value` (n,), higher is more abnormal; `map`, in the detector's own unit; `map_z`, the map in standard deviations
  of held-out normals at each pixel

{measured}
{inside}
```
python score.py IMAGE
```

needs numpy and onnxruntime, and Pillow for pictures, nibabel for volumes. `example.npz` holds prepared images with what
is expected of them.

## How an image is prepared

With the settings in `preprocessing.json`:

{steps}

## What a value means

`calibration` in `preprocessing.json` holds the values of images of {told["calibration"]["people"]} held-out
normal people and a weight of each, which sum to 1 for each person.

p = (1 + sum of the weights of values >= the new one) / (1 + people)

is the share of people at least as abnormal; it cannot fall below 1 / (1 + people).
"""
