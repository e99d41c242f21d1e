"""Real images that travel with the package, so that a first run needs neither network nor own data."""

import csv
import shutil
from pathlib import Path

from PIL import Image

_SOURCE = Path(__file__).parent / "chest_xray"
_SIZE = 64


def unpack_chest_xray(out: Path) -> Path:
    """Lay the embedded chest X-rays out as a user has own images, and give back the folder `out`.

    Writes `train/*.png` (normals), `test/*.png` (normals and pneumonia), each (64, 64) 8-bit grey,
    `cohort.csv` (id, path from `out`, subject, pneumonia 0 | 1, finding, split) and the `README.md` that their
    licence, CC BY 4.0, asks to go with them. No subject is on both sides. Called again it writes the same
    files; other files in `out` stay as they are.
    """
    with (_SOURCE / "cohort.csv").open(newline="") as file:
        paths = [out / row["path"] for row in csv.DictReader(file)]
    for folder in {path.parent for path in paths}:
        folder.mkdir(parents=True, exist_ok=True)
    with Image.open(_SOURCE / "images.png") as sheet:
        across = sheet.width // _SIZE
        for tile, path in enumerate(paths):
            top, left = tile // across * _SIZE, tile % across * _SIZE
            sheet.crop((left, top, left + _SIZE, top + _SIZE)).save(path)
    for name in ("cohort.csv", "README.md"):
        shutil.copyfile(_SOURCE / name, out / name)
    return out
