"""Networks and losses: torch in, torch out, in two or three dimensions.

May import the corridor alone. Imported by detectors and by explain's counterfactuals and latent walks.
"""
