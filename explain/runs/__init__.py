"""From cases and controls to a run folder, and from a run folder to explained images.

May import everything of explain but checking, evaluating and the commands; of anomaly, runs and what lies below.
Imported by checking and the commands.
"""
