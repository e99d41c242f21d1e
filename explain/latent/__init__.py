"""Explainers that walk through the codes of a generator: what changes as the target falls, while images stay real."""
