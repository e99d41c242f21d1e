"""What a reader looks at: heatmaps, figures, and the page that pictures are laid out on.

May import images, statistics and the corridor; knows no torch. Imported by runs, evaluation, reporting, simulation
and explain.
"""
