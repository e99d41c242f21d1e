"""All measurements in turn: `python -m benchmarks DATA [OUT]`; DATA is laid out as the demonstration lays it out."""

import subprocess
import sys


def main() -> None:
    """Detection on test images and on simulated knees, speed, memory, answers, damaged files, the statistics."""
    data, out = (*sys.argv[1:], "benchmark_out")[:2] if len(sys.argv) > 1 else (None, None)
    if data is None:
        sys.exit("give the folder that holds cohort.csv and the images: python -m benchmarks DATA [OUT]")
    for command in (
        ["benchmarks.detection", data, "--split", "test", "--out", out],
        ["benchmarks.throughput", data],
        ["benchmarks.answers"],
        ["benchmarks.mutants", "--files", "5000"],
        ["benchmarks.knees", "--out", f"{out}/knees"],
        ["benchmarks.coverage"],
        ["benchmarks.multiplicity"],
        ["benchmarks.references"],
        ["benchmarks.association", "--without-speed"],
        ["benchmarks.cohorts"],
    ):
        subprocess.run([sys.executable, "-m", *command], check=True)


if __name__ == "__main__":
    main()
