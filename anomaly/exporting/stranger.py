"""Apply the ONNX model in this folder to images: `python score.py --help`.

Needs numpy and onnxruntime, Pillow for PNG, JPEG and BMP, nibabel for NIfTI; and nothing of the program that made the
model.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import NormalDist
from typing import Any, NoReturn

try:
    import numpy as np

    from anomaly.exporting.prepare import PICTURES, VOLUMES, Unusable, areas, checked, mean, prepared
except ImportError as error:
    raise SystemExit(f"score.py needs numpy (pip install numpy) and prepare.py beside it: {error}") from None

READY = (".npy",)
ENDINGS = (*PICTURES, *VOLUMES, *READY)
COPY = "copy the whole folder again, or have it exported again"
HELP = """Apply the ONNX model beside this script to images. OUT/scores.csv gets a row for each image, and OUT a
file NAME_OUTPUT.npy for each array that the model gives, on the prepared grid. OUT appears when all is done. An image
that cannot be used has its reason in the column `error`, the others go on, and the exit status is 1."""
EXAMPLE = """example:
  python score.py knee.png others/ --out scores"""


def end(text: str) -> NoReturn:
    """End with a reason."""
    raise SystemExit(f"score.py: {text}")


def in_a_line(error: BaseException) -> str:
    """An error in one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def asked(arguments: list[str] | None) -> Any:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        prog="score.py", description=HELP, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    told = f"files ({', '.join(ENDINGS)}; .npy holds prepared images), or folders of such"
    parser.add_argument("images", nargs="+", metavar="IMAGE", help=told)
    parser.add_argument("--out", default="scores", help="folder to make (default: scores)")
    return parser.parse_args(arguments)


def opened(here: Path) -> tuple[Any, Any]:
    """What is told beside the model, and the model, unless it is damaged; its checksum tells nothing else."""
    try:
        facts = json.loads((here / "preprocessing.json").read_text(encoding="utf-8"))
        name, sum_ = str(facts["model"]), facts["sha256"]
        for key in ("preprocessing", "input", "numbers", "arrays", "outside_of_a_mask"):
            facts[key]
    except (OSError, ValueError, TypeError, KeyError) as error:
        end(f"preprocessing.json cannot be used ({type(error).__name__}: {in_a_line(error)}); {COPY}")
    if name in ("", ".", "..") or {"/", "\\", ":", "\0"} & set(
        name
    ):  # what is given on may not make others read elsewhere
        end(f"preprocessing.json tells {name!r} to be the model; expected the name of a file in its own folder; {COPY}")
    try:
        import onnxruntime
    except ImportError as error:
        end(f"onnxruntime cannot be used ({in_a_line(error)}): pip install onnxruntime")
    try:
        content = (here / name).read_bytes()
    except OSError as error:
        end(f"{name} cannot be read ({in_a_line(error)}); {COPY}")
    if hashlib.sha256(content).hexdigest() != sum_:
        end(f"{name} is damaged: it has not the checksum that preprocessing.json tells; {COPY}")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return facts, onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a class of errors for each reason, and no common one
        end(f"onnxruntime cannot run {name} ({in_a_line(error)}); take a newer onnxruntime")


def listed(given: list[str]) -> Iterator[tuple[str, str]]:
    """Each image with what is wrong about it already; of a folder the files in it that are images by their names."""
    for path in given:
        place = Path(path)
        if not place.is_dir():
            yield path, "" if place.exists() else "there is no such file or folder"
            continue
        try:
            there = sorted(each for each in place.iterdir() if each.is_file() and not each.name.startswith("."))
        except OSError as error:
            yield path, in_a_line(error)
            continue
        found = [str(each) for each in there if each.name.lower().endswith(ENDINGS)]
        yield from ((each, "") for each in found)
        if not found:
            yield path, f"no file in this folder ends with one of {', '.join(ENDINGS)}"


@contextmanager
def whole(out: Path) -> Iterator[Path]:
    """A folder beside its place, moved there when all of it is written."""
    part = out.parent / f".{out.name}.part"
    if out.exists():
        end(f"{out} is there already; move it away, or give another --out")
    if not out.parent.is_dir():
        end(f"{out.parent} is no folder; make it, or give another --out")
    try:
        part.mkdir()
    except FileExistsError:
        end(f"{part} is there: another call writes to {out}, or one was killed; then remove it")
    try:
        yield part
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def normal_score(values: Any, normals: Any, each: Any) -> Any:
    """Where values stand among those of held-out normals: quantiles, and beyond them one a standard deviation."""
    ordered, place = np.unique(normals, return_inverse=True)
    mass = np.bincount(place.ravel(), each)
    ranks = (np.cumsum(mass) - mass + (mass + 1) / 2) / (mass.sum() + 1)
    quantiles = [NormalDist().inv_cdf(rank) for rank in ranks]
    spread = float(np.std(normals)) if len(ordered) > 1 else 1.0
    beyond = np.maximum(values - ordered[-1], 0) - np.maximum(ordered[0] - values, 0)
    return np.interp(values, ordered, quantiles) + beyond / spread


def standing(value: float, normals: Any, each: Any) -> tuple[float, float]:
    """z of a value among held-out normals, no further out than their number tells, and its p."""
    if np.isnan(value):
        return value, value
    end_ = NormalDist().inv_cdf(each.sum() / (each.sum() + 1))
    z = float(np.clip(normal_score(value, normals, each), -end_, end_))
    return z, float((1 + each[normals >= value].sum()) / (each.sum() + 1))


def together(values: Any, normals: Any, each: Any) -> tuple[float, float, float]:
    """Of several models the mean of where their values (K,) stand among normals (K, n), its z and its p."""
    if not np.isfinite(values).all():
        return np.nan, np.nan, np.nan
    means = np.mean([normal_score(row, row, each) for row in normals], axis=0)
    mean = float(np.mean([normal_score(one, row, each) for one, row in zip(values, normals, strict=True)]))
    more = np.append(each, 1.0)  # the new image among them, so that all are treated alike
    ranked = [normal_score(row, row, more) for row in np.column_stack([normals, values])]
    ranks: Any = np.round(np.mean(ranked, axis=0), 12)
    p = (1 + each[ranks[:-1] >= ranks[-1]].sum()) / (each.sum() + 1)
    return mean, standing(mean, means, each)[0], float(p)


def meaning(numbers: dict[str, float], facts: Any) -> dict[str, float]:
    """The columns of an image: what the model says, and what that means among held-out normals if there are such."""
    told = facts.get("calibration")
    if told is None:
        return numbers
    normals, each = np.array(told["values"]), np.array(told["weights"])
    if normals.ndim == 1:
        z, p = standing(numbers["value"], normals, each)
        return {**numbers, "z": z, "p": p}
    value, z, p = together(np.array(list(numbers.values())), normals, each)
    return {"value": value, "z": z, "p": p, **numbers}


def marked(shares: Any, labels: Any) -> tuple[Any, dict[str, float]]:
    """The label map of shares of classes (n, K, *space), with the numbers of its classes, and pixels of each."""
    places = shares.argmax(1)
    counts = {f"pixels_{name}": float((places == k).sum()) for k, name in enumerate(labels["names"], 1)}
    written: Any = np.array([0, *labels["numbers"]], np.int32)
    return written[places], counts


def read(path: str, facts: Any) -> Any:
    """Images (n, C, *space) as the model takes them."""
    shape = facts["input"]["image"]
    if not path.lower().endswith(READY):
        return prepared(path, facts["preprocessing"], shape)
    images = np.load(path)
    if not isinstance(images, np.ndarray) or images.dtype.kind not in "biuf" or not images.size:
        raise Unusable(f"holds no array of real numbers; expected float32 ({', '.join(map(str, shape))})")
    return checked(images.astype(np.float32), shape)


def said(path: str, facts: Any, model: Any) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Rows of an image by their names, one, or one for each prepared image of an .npy; and its arrays.

    Several images of an .npy are one volume, slice by slice, where the model was calibrated by such. Where it was by
    pictures and volumes nobody knows what they are: then what they say has no z and no p.
    """
    images, names = read(path, facts), [*facts["numbers"], *facts["arrays"]]
    found = dict(zip(names, model.run(names, {"image": images}), strict=True))
    several = path.lower().endswith(READY) and len(images) > 1
    unit = facts.get("calibration", {}).get("unit", "image")
    alone = several and unit != "volume"  # slices of a volume have one row
    weights = np.ones(len(images)) if alone else areas(images, facts)
    rows: dict[str, dict[str, Any]] = {}
    for part in [slice(k, k + 1) for k in range(len(images))] if alone else [slice(None)]:
        name = f"{path}[{part.start}]" if alone else path
        numbers = {each: mean(found[each][part], weights[part]) for each in facts["numbers"]}
        for each, of in facts.get("sigmoid_of", {}).items():  # of the mean, and not the mean of those of slices
            numbers[each] = float(0.5 + 0.5 * np.tanh(numbers[of] / 2))
        rows[name] = meaning(numbers, facts)
        if alone and unit == "either":
            rows[name] = {each: numbers.get(each) for each in rows[name]}
        if "labels" in facts:
            rows[name] |= marked(found["probabilities"][part], facts["labels"])[1]
    arrays = {each: found[each] for each in facts["arrays"]}
    if "labels" in facts:
        arrays["labels"] = marked(arrays["probabilities"], facts["labels"])[0]
    return rows, arrays


def stem(path: str, taken: set[str]) -> str:
    """What the files of an image begin with; of images of one name each another."""
    name = Path(path).name
    name = name[:-7] if name.lower().endswith(".nii.gz") else Path(path).stem
    free, k = name, 1
    while free.lower() in taken:  # one file on some systems
        k += 1
        free = f"{name}-{k}"
    taken.add(free.lower())
    return free


def scored(part: Path, images: list[tuple[str, str]], facts: Any, model: Any) -> tuple[list[dict[str, Any]], int]:
    """Rows of the table, the arrays of each image written beside; and how many images cannot be used."""
    rows: list[dict[str, Any]] = []
    failed, taken = 0, set[str]()
    for path, wrong in images:
        try:
            if wrong:
                raise Unusable(wrong)
            found, arrays = said(path, facts, model)
        except Exception as error:  # of what reads files each raises its own, and the other images are to go on
            reason = in_a_line(error) if isinstance(error, Unusable) else f"{type(error).__name__}: {in_a_line(error)}"
            sys.stderr.write(f"{path}: {reason}\n")
            rows.append({"image": path, "error": reason})
            failed += 1
            continue
        begins = stem(path, taken)
        for name, array in arrays.items():
            np.save(part / f"{begins}_{name}.npy", array)
        files = ";".join(f"{begins}_{name}.npy" for name in arrays)
        for name, numbers in found.items():
            rows.append({"image": name, **numbers, "files": files})
            sys.stdout.write(
                "   ".join([name, *(f"{key} {each:.7g}" for key, each in numbers.items() if each is not None)]) + "\n"
            )
    return rows, failed


def main(arguments: list[str] | None = None) -> int:
    """Apply the model to each image; 1 where one cannot be used."""
    given = asked(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # names of files that are no text
    facts, model = opened(Path(__file__).parent)
    out, images = Path(given.out), list(listed(given.images))
    try:
        with whole(out) as part:
            rows, failed = scored(part, images, facts, model)
            columns = dict.fromkeys(["image", *(key for row in rows for key in row if key != "error"), "error"])
            with (part / "scores.csv").open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
                table = csv.DictWriter(file, list(columns))
                table.writeheader()
                table.writerows(rows)
    except KeyboardInterrupt:
        end(f"stopped; {out} was not written")
    except OSError as error:
        end(f"{in_a_line(error)}; {out} was not written")
    if failed:
        sys.stderr.write(
            f"score.py: {failed} of {len(images)} images could not be used; {out / 'scores.csv'} says why\n"
        )
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
