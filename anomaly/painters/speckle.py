"""From a map of tissues to an ultrasound image by physics alone: scatterers, pulse, envelope, attenuation, decibels.

The first stage of Tom and Sheet 2018 (as Bamber and Dickinson 1980 have it): what comes back along a beam is the
scatterers convolved with a pulse, a cosine under a Gaussian along the beam and a Gaussian across. Here with the
analytic pulse, exp(2 pi i z / (wavelength / 2)) under the same Gaussian, whose magnitude is the envelope.
"""

from collections.abc import Sequence
from math import ceil

import numpy as np
from scipy import ndimage, signal

from anomaly.errors import AnomalyError
from anomaly.painters.tissues import SOFT, Probe, Tissue

FINE = 8
"""Samples a period of the pulse's echo, half a wavelength."""
MOST_GAIN = 12.0
"""Decibels by which the machine's gain for depth may outdo what was lost: fluid brightens what lies below, not more."""
REACH = 4.0
"""Standard deviations that a pulse is taken to reach."""
BLACK = -1.0


def ultrasound(
    places: np.ndarray,
    tissues: Sequence[Tissue],
    probe: Probe,
    *,
    seed: int,
    pixel: tuple[float, float] | None = None,
    turned: bool = False,
) -> np.ndarray:
    """An ultrasound image (rows, columns) of a map of tissues, float32 in [-1, 1].

    Args:
        places: (rows, columns), the place of the tissue of each pixel.
        tissues: one a place.
        probe: what sends and listens, and where its beams run.
        seed: of the scatterers; the same map and seed give the same image.
        pixel: mm of a step along the first axis and along the second; None takes the probe's.
        turned: a slice of a volume, shown with its first axis across the screen and its second one upwards; a
            picture is shown as it is stored.

    Raises:
        AnomalyError: no picture, or places without a tissue.
    """
    if places.ndim != 2 or not places.size:
        raise AnomalyError(f"ultrasound is drawn of a picture (rows, columns); got the shape {places.shape}")
    if places.max() >= len(tissues):
        raise AnomalyError(f"a map holds the place {places.max()}, and there are {len(tissues)} tissues")
    size = pixel or (probe.pixel, probe.pixel)
    below = as_beams_run(places, probe.beam, turned)
    size = size[::-1] if turned != (probe.beam in ("right", "left")) else size
    if probe.kind == "linear":
        drawn = in_decibels(envelope(below, tissues, probe, seed=seed, pixel=size), probe)
    else:
        drawn = _fanned(below, tissues, probe, seed, size)
    return np.ascontiguousarray(as_stored(drawn, probe.beam, turned))


def as_beams_run(places: np.ndarray, beam: str, turned: bool) -> np.ndarray:
    """A map (rows, columns) whose first row lies at the probe, of one as it is stored; see `ultrasound`."""
    shown = places.T[::-1, ::-1] if turned else places
    shown = shown[::-1] if beam == "up" else shown[:, ::-1] if beam == "left" else shown
    return shown.T if beam in ("right", "left") else shown


def as_stored(drawn: np.ndarray, beam: str, turned: bool) -> np.ndarray:
    """The way back of `as_beams_run`."""
    shown = drawn.T if beam in ("right", "left") else drawn
    shown = shown[::-1] if beam == "up" else shown[:, ::-1] if beam == "left" else shown
    return shown[::-1, ::-1].T if turned else shown


def envelope(
    places: np.ndarray, tissues: Sequence[Tissue], probe: Probe, *, seed: int, pixel: tuple[float, float]
) -> np.ndarray:
    """How loud the echo of each pixel is, (rows, columns), with attenuation and the gain that makes up for it."""
    down, across = pixel
    fine = max(1, round(FINE * 2 * down / probe.wavelength))
    wide = max(1, ceil(across / probe.lateral))  # a Gaussian that is seen once a standard deviation keeps its sum
    step, aside = down / fine, across / wide
    random = np.random.default_rng(seed)
    each = {name: np.array([getattr(one, name) for one in tissues]) for name in ("amplitude", "density", "reflection")}
    dense = np.repeat(np.repeat(places, fine, axis=0), wide, axis=1)
    count = random.poisson(each["density"][dense] * step * aside)
    echoes = each["amplitude"][dense] * np.sqrt(count) * random.standard_normal(dense.shape)
    entered = np.zeros(dense.shape, dtype=bool)
    entered[1:] = dense[1:] != dense[:-1]
    echoes = echoes + np.where(entered, each["reflection"][dense] * aside, 0)
    echoes = echoes * 10 ** (-np.repeat(loss(places, tissues, probe, down, fine), wide, axis=1) / 20)
    found = np.abs(_heard(echoes, probe, step, aside))
    return np.asarray(found.reshape(len(places), fine, places.shape[1], wide)[:, fine // 2, :, wide // 2])


def loss(places: np.ndarray, tissues: Sequence[Tissue], probe: Probe, down: float, fine: int = 1) -> np.ndarray:
    """Decibels lost on the way to each pixel and back, (rows * fine, columns), less the gain of the machine.

    2 f (sum of attenuation over the pixels above - gain x depth), with depths in cm and f in MHz; the depth is that in
    what scatters, and at least -12 dB are lost.
    """
    of = np.array([one.attenuation - probe.gain * (one.amplitude > 0) for one in tissues])[places]
    each = 2 * probe.frequency * np.repeat(of, fine, axis=0) * (down / fine / 10)
    return np.maximum(np.cumsum(each, axis=0) - each, -MOST_GAIN)


def _heard(echoes: np.ndarray, probe: Probe, step: float, across: float) -> np.ndarray:
    """Scatterers convolved with the analytic pulse along the beam and the Gaussian across it."""
    z = _offsets(probe.axial, step)
    pulse = np.exp(-(z**2) / (2 * probe.axial**2)) * np.exp(4j * np.pi * z / probe.wavelength)
    x = _offsets(probe.lateral, across)
    along = signal.fftconvolve(echoes, pulse[:, None], mode="same", axes=0)
    beam = np.exp(-(x**2) / (2 * probe.lateral**2))
    real, imaginary = (ndimage.convolve1d(part, beam, axis=1, mode="nearest") for part in (along.real, along.imag))
    return np.asarray(real + 1j * imaginary)


def _offsets(width: float, step: float) -> np.ndarray:
    reach = max(1, int(np.ceil(REACH * width / step)))
    return np.arange(-reach, reach + 1) * step


def loudness(tissue: Tissue, probe: Probe) -> float:
    """Root mean square of the envelope of a tissue at the skin: sqrt(density) amplitude sqrt(axial lateral pi).

    The scatterers of a cell of area A have the variance density A amplitude^2, and the pulse's square, summed over
    cells, is (axial sqrt(pi)) (lateral sqrt(pi)) / A.
    """
    return float(np.sqrt(tissue.density * probe.axial * probe.lateral * np.pi) * tissue.amplitude)


def in_decibels(loud: np.ndarray, probe: Probe) -> np.ndarray:
    """20 log10 of an envelope, -1 at `dynamic` below white to 1 at white, which is `level` above soft tissue."""
    white = loudness(SOFT, probe) * 10 ** (probe.level / 20)
    told = 20 * np.log10(np.maximum(loud, 1e-12) / white)
    return np.asarray(2 * np.clip(1 + told / probe.dynamic, 0, 1) - 1, dtype=np.float32)


def _fanned(
    places: np.ndarray, tissues: Sequence[Tissue], probe: Probe, seed: int, pixel: tuple[float, float]
) -> np.ndarray:
    """The same along beams that fan out of a curved probe in the middle of the first row; black beside them."""
    rows, columns = places.shape
    down, across = pixel
    half = np.deg2rad(probe.angle / 2)
    deepest = int(np.ceil(rows + columns * across / down / 2))
    angles = np.linspace(-half, half, max(2, columns))
    reach = probe.radius + np.arange(deepest) * down
    depth = reach[:, None] * np.cos(angles) - probe.radius
    aside = reach[:, None] * np.sin(angles)
    row, column = np.rint(depth / down).astype(int), np.rint(aside / across + (columns - 1) / 2).astype(int)
    inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    seen = np.where(inside, places[row.clip(0, rows - 1), column.clip(0, columns - 1)], 0)
    spacing = probe.radius * (angles[1] - angles[0])
    beams = in_decibels(envelope(seen, tissues, probe, seed=seed, pixel=(down, spacing)), probe)
    y = np.arange(rows)[:, None] * down + probe.radius
    x = (np.arange(columns) - (columns - 1) / 2) * across
    radius, angle = np.hypot(y, x), np.arctan2(x, y + 0 * x)
    at = np.stack([(radius - probe.radius) / down, (angle + half) / (angles[1] - angles[0])])
    found = ndimage.map_coordinates(beams, at, order=1, mode="nearest")
    return np.where((np.abs(angle) <= half) & (radius >= probe.radius), found, BLACK).astype(np.float32)
