"""The algorithm of HoVer-Net's published decoding, for comparison in the same process.

Written from section 3.3 of Graham et al. 2019: Sobel responses of the hv maps, scaled
by the minimum and maximum of the array at hand, thresholds for markers, a watershed of
the smoothed landscape.
"""

import cv2
import numpy as np
from scipy import ndimage
from skimage.morphology import remove_small_objects
from skimage.segmentation import watershed


def min_max(values):
    """Scale to 0..1 by the extremes of this array."""
    low, high = values.min(), values.max()
    return ((values - low) / max(high - low, 1e-12)).astype(np.float32)


def published_decoding(prob, hv, ksize=21):
    """Return the label map of maps in units of 1/255 and 1/127."""
    foreground = ndimage.label(prob >= 128)[0]
    foreground = remove_small_objects(foreground, max_size=9) > 0
    h, v = (min_max(plane.astype(np.float32)) for plane in hv)
    along = 1 - min_max(cv2.Sobel(h, cv2.CV_64F, 1, 0, ksize=ksize))
    down = 1 - min_max(cv2.Sobel(v, cv2.CV_64F, 0, 1, ksize=ksize))
    edge = np.clip(np.maximum(along, down) - ~foreground, 0, None)
    landscape = -cv2.GaussianBlur((1 - edge) * foreground, (3, 3), 0)
    inside = foreground & (edge < 0.4)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    inside = ndimage.binary_fill_holes(inside).astype(np.uint8)
    opened = cv2.morphologyEx(inside, cv2.MORPH_OPEN, disc)
    markers = remove_small_objects(ndimage.label(opened)[0], max_size=9)
    return watershed(landscape, markers, mask=foreground)
