"""The settings of preprocessing are checked without the libraries that prepare images, and agree with these."""

import anomaly
import anomaly.images
from anomaly.images import intensities, placing, read
from anomaly.images.preprocessing import CHOICES, Preprocessing
from anomaly.images.reading import read as reader
from anomaly.simulation import KINDS, kinds


def test_what_may_be_chosen_is_what_there_is():
    assert set(CHOICES["fit"]) == set(placing.FITS)
    assert set(CHOICES["slices"]) == set(placing.SLICES)
    assert set(CHOICES["intensity"]) == {*intensities.BOUNDS, "none"}
    assert set(CHOICES["foreground"]) == set(intensities.FOREGROUNDS)


def test_doors_open_what_they_name():
    assert read is reader and {"find", "Image", "read", "write_volume"} <= set(dir(anomaly.images))
    assert KINDS is kinds.KINDS


def test_dir_and_tab_show_what_is_there():
    assert set(anomaly.__all__) <= set(dir(anomaly)) and "learn" in dir(anomaly) and "Preprocessing" in dir(anomaly)
    assert anomaly.Preprocessing is Preprocessing
    assert all(getattr(anomaly, name) is not None for name in anomaly.__all__)
