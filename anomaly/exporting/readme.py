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
SCRIPT = Path(__file__).with_name("stranger.py")
"""What becomes `score.py`: it imports nothing of this program."""


def readme(told: Mapping[str, Any]) -> str:
    """README.md of an exported model."""
    shape, compared = told["input"]["image"], told["compared"]
    differences = compared["differences"]
    measured = (
        "**Not verified**: nobody compared it with the run it was made of, since onnxruntime was not installed."
        if differences is None
        else "Compared with PyTorch over "
        f"{compared['images']}, it differed by at most {max(differences.values()):.1e} of an image's largest number."
    )
    asked = told["preprocessing"]
    refused = [] if asked["mask"] == "none" else ["a mask"]
    refused += [] if asked["foreground"] == "none" else ["a foreground"]
    alone = (
        "takes PNG, JPEG, BMP and NIfTI, and prepares them as below."
        if not refused
        else f"takes prepared images as .npy alone: the run was trained with {' and '.join(refused)}, which it does "
        "not make."
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
python score.py IMAGE [IMAGE ...]
```

needs numpy and onnxruntime, and Pillow for pictures, nibabel for volumes. It {alone} Prepared images, float32
({", ".join(map(str, shape))}), are taken as .npy. It prints value, z and p of each image and writes `NAME_map_z.npy`,
on the prepared grid; equal names, and a map that is there already, are refused. `example.npz` holds two images that
were made, of no person, with what is expected of them.

## How an image is prepared

With the settings in `preprocessing.json`:

{steps}

## What a value means

`calibration` in `preprocessing.json` holds the values of images of {told["calibration"]["people"]} held-out
normal people and a weight of each, which sum to 1 for each person.

p = (1 + sum of the weights of values >= the new one) / (1 + people)

is the share of people at least as abnormal; it cannot fall below 1 / (1 + people). z is the quantile of the standard
normal at (values below + half of those alike + 1/2) / (1 + people), straight between values, and no further from 0 than
that of people / (1 + people); `score.py` has it line by line.
"""
