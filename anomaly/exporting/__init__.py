"""What a run becomes for other programs: an ONNX graph.

Floor 5: may import what lies below. Imports detectors, images, nets, runs and training; imported by cli.
"""
