"""Shape fields: how a person differs from the mean head, as a smooth displacement of space.

One function for head, ears, neck and body alike, so meshes stay joined and acupoints move with the surface.
"""

import numpy as np
from numpy.typing import NDArray

from synthetic.face import EYE_LEFT, EYE_RIGHT
from synthetic.grids import smoothstep
from synthetic.identity import Identity

FloatArray = NDArray[np.floating]

_FATNESS = {"S": -1.0, "N": 0.0, "F": 1.2}
_NECK_AXIS_Y_MM = 26.0


def _gauss(points: FloatArray, center: FloatArray, widths_mm: tuple[float, float, float]) -> FloatArray:
    out = np.zeros(len(points), points.dtype)
    for axis in range(3):
        out += ((points[:, axis] - center[axis]) / widths_mm[axis]) ** 2
    return np.exp(-0.5 * out)


def deform(points: FloatArray, who: Identity, landmarks: FloatArray) -> FloatArray:
    """Points [N, 3] mm of the mean head on the head of a person.

    Args:
        points: [N, 3] mm.
        who: the person.
        landmarks: [468, 3] mm of the mean head.
    """
    z = who.shape
    fat = _FATNESS[who.size]
    out = np.array(points, np.float64)
    x, y, up = points[:, 0], points[:, 1], points[:, 2]
    chin, nose_tip, mouth = landmarks[152], landmarks[1], landmarks[[13, 14]].mean(0)
    # Overall proportions fade below the neck, so shoulders keep their place under the rig.
    head = smoothstep(up, chin[2] - 55.0, chin[2])
    out[:, 0] += 0.018 * z[0] * x * head
    out[:, 1] += 0.018 * z[1] * y * head
    out[:, 2] += 0.015 * z[2] * up * head
    # Lower face: jaw width, chin length and prominence, cheeks.
    low = (1 - smoothstep(up, chin[2] + 5.0, nose_tip[2])) * head
    front = smoothstep(-y, -15.0, 50.0)
    out[:, 0] += x * low * front * (0.035 * z[3] + 0.055 * fat)
    out[:, 2] -= low * front * 2.5 * z[4]
    out[:, 1] -= _gauss(points, chin, (25, 30, 20)) * 2.2 * z[5]
    for side in (205, 425):
        out[:, 1] -= _gauss(points, landmarks[side], (22, 30, 30)) * (1.4 * z[6] + 2.2 * fat)
    for side, sign in ((132, -1.0), (361, 1.0)):
        out[:, 0] += sign * _gauss(points, landmarks[side], (30, 40, 30)) * (3.2 * fat + 1.5 * z[7])
    out[:, 2] -= _gauss(points, chin + [0.0, 22.0, -4.0], (30, 25, 16)) * 4.0 * max(fat, 0.0)
    # Nose: length, tip, width of the wings, bridge.
    tip = _gauss(points, nose_tip, (16, 20, 18))
    out[:, 1] -= tip * 1.8 * z[8]
    out[:, 2] += tip * 1.4 * z[9]
    out[:, 0] += x * _gauss(points, landmarks[2], (20, 20, 12)) * 0.09 * z[10]
    out[:, 1] -= _gauss(points, landmarks[6], (9, 20, 20)) * 1.4 * z[11]
    # Lips, mouth width.
    lips = _gauss(points, mouth, (28, 30, 12))
    out[:, 2] += (up - mouth[2]) * lips * 0.10 * z[12]
    out[:, 1] -= lips * 1.0 * z[12]
    out[:, 0] += x * lips * 0.06 * z[13]
    # Eyes: distance, opening; brow ridge.
    for ring in (EYE_RIGHT, EYE_LEFT):
        eye = landmarks[list(ring)].mean(0)
        near = _gauss(points, eye, (18, 30, 12))
        out[:, 0] += np.sign(eye[0]) * near * 1.1 * z[14]
        out[:, 2] += (up - eye[2]) * near * 0.08 * z[15]
    ridge = sum(_gauss(points, landmarks[k], (20, 30, 9)) for k in (105, 334))
    out[:, 1] -= ridge * 0.7 * z[9]
    # Neck and shoulders grow and shrink about their axis.
    neck = smoothstep(-up, 45.0, 90.0)
    out[:, 0] += x * neck * 0.075 * fat
    out[:, 1] += (y - _NECK_AXIS_Y_MM) * neck * 0.075 * fat
    return out
