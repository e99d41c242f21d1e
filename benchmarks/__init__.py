"""Scripts that measure what `docs/benchmarks/` reports; each runs alone: `python -m benchmarks.NAME --help`."""
