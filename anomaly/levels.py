"""The values that prepared images keep for what does not count, so that whoever sees an image finds its mask in it."""

OUTSIDE = -1.0
"""Of prepared pixels outside a mask."""
DARKEST = -1 + 2**-7
"""The least that pixels inside a mask have; exact in half precision as well."""
