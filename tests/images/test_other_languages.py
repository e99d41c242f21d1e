"""Where decimals have commas, and where names of files are ASCII: images are found, read and told as everywhere."""

import json
import locale
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from spoken import german
from studies import ROOT

from anomaly.images import read
from anomaly.images.itk import has_reader

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT)}
IN_ASCII = """
import json, sys
from pathlib import Path
from anomaly.images import find, read
from anomaly.images.names import located, spelled
from anomaly.files import write_whole
assert sys.getfilesystemencoding() == "ascii"
folder = next(Path.cwd().iterdir())  # its name holds bytes that are no ASCII
names = [spelled(path.name) for path in find(folder)]
paths = [folder / name for name in names] + [Path(spelled(str(folder))) / name for name in names]
told = {"names": names, "paths": [spelled(str(path)) for path in paths]}
told["values"] = [int(read(path).pixels.sum()) for path in paths]
told["there"] = [located(path).exists() for path in paths]
try:
    write_whole(Path("\\u0141.txt"), "x")
except OSError as error:
    told["refused"] = str(error)
print(json.dumps(told))
"""


@pytest.mark.skipif(not has_reader(), reason="SimpleITK is an extra")
@pytest.mark.parametrize("ending", ["mha", "mhd", "nrrd", "nhdr"])
def test_where_decimals_have_commas_volumes_of_itk_lie_the_same(ending: str, tmp_path: Path) -> None:
    import SimpleITK

    volume = SimpleITK.GetImageFromArray(np.random.default_rng(0).normal(size=(5, 4, 3)))
    volume.SetSpacing((1.25, 0.5, 2.75))
    volume.SetOrigin((-10.5, 0.125, 3.75))
    SimpleITK.WriteImage(volume, str(tmp_path / f"x.{ending}"))
    usual = read(tmp_path / f"x.{ending}")
    assert np.abs(np.diag(usual.affine))[:3].tolist() == [1.25, 0.5, 2.75]
    with german(tmp_path):
        image = read(tmp_path / f"x.{ending}")
        assert locale.localeconv()["decimal_point"] == ","  # as it was before
    assert (image.affine == usual.affine).all() and (image.pixels == usual.pixels).all()


@pytest.mark.skipif(sys.platform != "linux", reason="macOS and Windows have names of files in one encoding alone")
def test_where_names_are_ascii_files_of_other_letters_are_found_and_told_as_everywhere(tmp_path: Path) -> None:
    folder = tmp_path / "Zähne"
    folder.mkdir()
    np.save(folder / "Ł ğ.npy", np.full((4, 4), 1))
    with open(os.fsencode(folder) + b"/\xe9.npy", "wb") as file:
        np.save(file, np.full((4, 4), 2))
    words, place = [sys.executable, "-c", IN_ASCII], os.environ | ASCII
    ended = subprocess.run(words, cwd=tmp_path, env=place, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert told["names"] == ["Ł ğ.npy", "\\xe9.npy"] and told["paths"][:2] == told["paths"][2:]
    assert told["paths"][0] == str(folder / "Ł ğ.npy")
    assert told["values"] == [16, 32] * 2 and told["there"] == [True] * 4
    assert "names of files are ascii in this locale; set PYTHONUTF8=1" in told["refused"]
