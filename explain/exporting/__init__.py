"""What trained explainers and classifiers become for other programs: an ONNX graph.

Floor 7: may import what lies below. Imports anomaly.exporting, anomaly.runs, base, classifier, runs, sides and trained;
imported by cli.
"""
