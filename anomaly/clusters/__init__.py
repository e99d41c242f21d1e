"""Many machines: work dealt out in chunks to the workers of a Dask cluster, and in shards by a hash of the id.

Floor 3: may import what lies below. Imports training; imported by commandline, explain.association, explain.runs, runs
and scoring.
"""
