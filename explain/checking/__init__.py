"""Sanity checks of an explainer: does its map depend on what it is said to explain?

A file a question: `permuted` takes the meaning out of the labels and trains again, `cascade` takes what a target
learned out of it layer by layer.

May import everything of explain but evaluating and the commands. Imported by the commands alone.
"""

from explain.checking.check import Checked, check

__all__ = ["Checked", "check"]
