"""How soon the program answers where nothing is to be computed: help, and wrong options of every command.

    python -m benchmarks.answers [--against FOLDER]

Each call is a process of its own and takes turns with `import typer` alone, the least that this command line can cost;
the median of the pairs is reported. With --against, a checkout of another build is called in the same turns.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.ratios import taking_turns, timed

ROOT = Path(__file__).parents[1]
CALLS = {
    "help": "--help",
    "version": "--version",
    "methods": "methods",
    "methods NAME": "methods stylegan",
    "train, no such path": "train --normals gone --out new",
    "train, no such method": "train --normals . --out new --method vea",
    "train, no such setting": "train --normals . --out new --set latentt=3",
    "train, setting out of range": "train --normals . --out new --set latent=-1",
    "train, no such way to fit": "train --normals . --out new --fit stretch",
    "score, no run": "score gone --images . --out new",
    "score, no such heatmap": "score . --images . --out new --heatmaps jpeg",
    "evaluate, no scores": "evaluate gone --cohort gone.csv",
    "associate, no such correction": "associate . --cohort . --outcome x --out new --correction holm",
    "simulate, no such cohort": "simulate hips --out new",
    "generate, no run": "generate gone --out new",
    "report, no folder": "report gone",
    "info, no run": "info gone",
    "explain train, no such method": "explain train --cases . --controls . --out new --method adative",
    "explain map, no such explainer": "explain map saliensy --images . --out new",
    "explain check, no such explainer": "explain check saliensy --images . --out new",
    "explain evaluate, no maps": "explain evaluate gone",
}


def main() -> None:
    """Print one line of JSON for each call."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="checkout of another build")
    against = parser.parse_args().against
    for name, words in CALLS.items():
        least = taking_turns(_calling("-c", "import typer"), _calling(str(ROOT / "cli.py"), *words.split()))
        told = {"call": name, "seconds": least["seconds_other"], "times_import_typer": least["ratio"]}
        if against is not None:
            other = taking_turns(
                _calling(str(ROOT / "cli.py"), *words.split()), _calling(str(against / "cli.py"), *words.split())
            )
            told |= {"seconds_other_build": other["seconds_other"], "other_build_over_this": other["ratio"]}
        print(json.dumps(told), flush=True)


def _calling(*words: str) -> Callable[[], float]:
    """Seconds of a Python process with these words."""
    return timed(lambda: subprocess.run([sys.executable, *words], capture_output=True, check=False))


if __name__ == "__main__":
    main()
