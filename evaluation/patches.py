"""Squares around pixels of a map, and their correlation with another map at every shift."""

from typing import Any

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.fft import irfft2, next_fast_len, rfft2

from evaluation.structure import Floats

SMALL = 11
"""Sides of patches up to which one transform after the other takes less time than all at once."""
_LARGEST_SHARE = 0.95


class Padded:
    """A map mirrored beyond its edges, from which squares around its pixels are taken."""

    def __init__(self, values: Floats, margin: int):
        padded = cv2.copyMakeBorder(values, margin, margin, margin, margin, cv2.BORDER_REFLECT)
        self._values = np.asarray(padded, np.float32)
        self._margin = margin

    def squares(self, centres: NDArray[np.intp], radius: int) -> Floats:
        """[N, 2 radius + 1, 2 radius + 1] around N pixels (x, y)."""
        side, shift = 2 * radius + 1, self._margin - radius
        return sliding_window_view(self._values, (side, side))[centres[:, 1] + shift, centres[:, 0] + shift]

    def energies(self, centres: NDArray[np.intp], radius: int, reach: int) -> Floats:
        """[N, 2 reach + 1, 2 reach + 1] mean square over the squares at each shift."""
        side = 2 * radius + 1
        mean = cv2.sqrBoxFilter(self._values, cv2.CV_32F, (side, side), borderType=cv2.BORDER_REFLECT)
        width, shift = 2 * reach + 1, self._margin - reach
        windows = sliding_window_view(np.asarray(mean, np.float32), (width, width))
        return windows[centres[:, 1] + shift, centres[:, 0] + shift]


def correlated(patches: Floats, around: Floats) -> Floats:
    """Sums of the products of patches with what lies around them, at each shift.

    Args:
        patches: [N, 2 radius + 1, 2 radius + 1].
        around: [N, 2 (radius + reach) + 1, 2 (radius + reach) + 1], centred on the same pixels.

    Returns:
        [N, 2 reach + 1, 2 reach + 1] by (dy, dx).
    """
    side = around.shape[1] - patches.shape[1] + 1
    if patches.shape[1] <= SMALL:
        out = np.empty((len(patches), side, side), np.float32)
        for index, (patch, window) in enumerate(zip(patches, around, strict=True)):
            out[index] = cv2.matchTemplate(window, patch, cv2.TM_CCORR)
        return out
    # The circular correlation of a size that holds the window has no wrap-around at these shifts.
    size = next_fast_len(around.shape[1], real=True)
    spectrum: Any = rfft2(around, s=(size, size))
    spectrum *= np.conj(np.asarray(rfft2(patches, s=(size, size))))
    return np.asarray(irfft2(spectrum, s=(size, size)), np.float32)[:, :side, :side]


def evidence(correlation: Floats) -> Floats:
    """``-log(1 - r²)`` where a correlation r is positive, else 0: the log-likelihood of half a pixel's worth."""
    share = np.minimum(np.maximum(correlation, 0) ** 2, _LARGEST_SHARE)
    return np.asarray(-np.log1p(-share), np.float32)
