"""What a detector or a segmenter becomes for other programs: an ONNX graph.

Floor 6: may import what lies below. Imports detectors, images, nets, runs, scoring, segmenters and training; imported
by explain.exporting.
"""
