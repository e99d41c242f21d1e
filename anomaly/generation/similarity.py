"""How alike two images are to the eye: structural similarity over several scales, and its mean over random pairs.

Images are (n, C, *space) in [-1, 1], as float arrays.
"""

import numpy as np

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, finest first: Wang et al. 2003, section 3.2
WINDOW = 7
LARGEST = 64  # the shortest side of a volume is halved until it is below twice this, for time
PAIRS_BYTES = 16 * 2**20


def scales(space: tuple[int, ...]) -> tuple[int, int]:
    """How many scales (at most 5) fit images of this size, and the side of their Gaussian window, in pixels.

    The window of 11 pixels that is usual needs 176 pixels a side for 5 scales. One of 7 leaves two scales for 16
    pixels, four for 64 and five for 112; smaller images take one scale, below 7 pixels with a smaller window.
    """
    side = min(space)
    window = min(WINDOW, side - 1 + side % 2)
    # Beside the room that the coarsest scale needs, MONAI asks for window * (scales - 1)^2 pixels.
    fits = [k for k in range(1, len(WEIGHTS) + 1) if min(side >> (k - 1), side // max(1, k - 1) ** 2) >= window]
    return max(fits), window


def ms_ssim(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Structural similarity over several scales of pairs of images, (n,); 1 for the same image, 0 for none.

    Wang et al. 2003, equation 7, on intensities from 0 to 1, with the first weights of `WEIGHTS` brought to a sum of 1
    where fewer than 5 scales fit (`scales`), windows of 1.5 pixels (Gaussian, standard deviation), and negative
    covariances counted as 0. Volumes of 128 voxels a side or more are first halved.
    """
    import torch
    from monai.metrics.regression import compute_ms_ssim
    from torch.nn.functional import avg_pool3d

    first, second = (torch.from_numpy(np.ascontiguousarray(each, dtype=np.float32) / 2 + 0.5) for each in (x, y))
    while first.ndim == 5 and min(first.shape[2:]) >= 2 * LARGEST:
        first, second = avg_pool3d(first, 2), avg_pool3d(second, 2)
    count, window = scales(tuple(first.shape[2:]))
    weights = [weight / sum(WEIGHTS[:count]) for weight in WEIGHTS[:count]]
    told = compute_ms_ssim(first, second, first.ndim - 2, kernel_size=window, weights=weights)
    return np.asarray(told[:, 0].numpy(), dtype=float)


def likeness(images: np.ndarray, groups: np.ndarray, *, pairs: int, seed: int = 0) -> tuple[float, int]:
    """Mean `ms_ssim` over random pairs of images of different groups (subjects), and of how many pairs.

    The lower, the more diverse; Odena et al. 2017, section 4.2. NaN and 0 where there is no such pair.
    """
    first, second = np.triu_indices(len(images), 1)
    apart = groups[first] != groups[second]
    first, second = first[apart], second[apart]
    if not len(first):
        return float("nan"), 0
    chosen = np.random.default_rng(seed).permutation(len(first))[:pairs]
    step = max(1, PAIRS_BYTES // images[0].nbytes)
    parts = [chosen[start : start + step] for start in range(0, len(chosen), step)]
    return float(np.concatenate([ms_ssim(images[first[k]], images[second[k]]) for k in parts]).mean()), len(chosen)
