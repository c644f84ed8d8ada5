"""Seven acupoints on the skin, placed by anatomy.

Locations after "WHO Standard Acupuncture Point Locations in the Western Pacific Region" (WHO, 2008), in our words; the
extra points EX-UE7 and EX-UE8 after the Chinese standard GB/T 40997-2021. One cun is taken as 20 mm on the mean hand.

| label | point | where |
|---|---|---|
| 2 | Shaoze SI1 | little finger: where lines along ulnar edge and base of the nail meet, 0.1 cun off its corner |
| 5 | Zhongzhu SJ3 | back of the hand, between metacarpals 4 and 5, in the hollow proximal to the 4th knuckle |
| 8 | Shangyang LI1 | index finger: as Shaoze, at the radial corner of the nail |
| 4 | Wailaogong EX-UE8 | back of the hand, between metacarpals 2 and 3, 0.5 cun proximal to the knuckles |
| 6 | Yaotongdian EX-UE7 | between metacarpals 2 and 3, halfway from the dorsal wrist crease to the knuckles |
| 7 | Yaotongdian EX-UE7 | the same between metacarpals 4 and 5 |
| 3 | Hegu LI4 | between metacarpals 1 and 2, radial to the middle of metacarpal 2 |

The labels are those of the hand data set of Xu et al. 2025; it does not state which Yaotongdian is 6 and which 7.
"""

import numpy as np
from numpy.typing import NDArray

from synthetic.hands.skeleton import BONES, Skeleton
from synthetic.hands.subject import PULP_MM, HandSubject
from synthetic.hands.surface import HandField

Floats = NDArray[np.float64]

LABELS = ("2", "5", "8", "4", "6", "7", "3")
"""labelme's label of each point, in the order of every array here."""
NAMES = ("Shaoze SI1", "Zhongzhu SJ3", "Shangyang LI1", "Wailaogong EX-UE8")
NAMES += ("Yaotongdian EX-UE7 radial", "Yaotongdian EX-UE7 ulnar", "Hegu LI4")

CUN_MM = 20.0
NAIL_BASE = 0.36
"""Where the nail begins, as a share of the way from the last joint to the fingertip."""
_RADIAL, _ULNAR = -1.0, 1.0
_CORNER_DEG = 60.0
"""How far round the finger, from dorsal, the points beside the nail are: 0.1 cun outside the nail's edge."""


def nail_base_mm(bones: Skeleton, finger: int, size: float) -> float:
    """Distance of the nail's base from the last joint, along the bone."""
    return NAIL_BASE * (bones.length[BONES.index("thumb0") + 3 * finger + 2] + PULP_MM[finger] * size)


def hand_points(who: HandSubject, bones: Skeleton, field: HandField) -> tuple[Floats, Floats]:
    """The points on a posed right hand.

    Returns:
        [7, 3] mm on the skin, and [7, 3] outward unit normals there.
    """
    size = who.scale
    cun = CUN_MM * size
    along = [(head - base) / np.linalg.norm(head - base) for base, head in zip(bones.base, bones.head, strict=True)]
    up = np.array([0.0, 0.0, 1.0])

    def proximal(finger: int, distance: float) -> Floats:
        return bones.head[finger] - along[finger] * distance

    def halfway(finger: int) -> Floats:
        """On a metacarpal's line, halfway between wrist crease (y = 0) and knuckle."""
        return proximal(finger, bones.head[finger][1] / 2 / along[finger][1])

    starts = {
        "5": (proximal(4, 3.0 * size) + proximal(3, 10.0 * size)) / 2,
        "4": (proximal(2, 0.6 * cun) + proximal(1, 0.5 * cun)) / 2,
        "6": (halfway(1) + halfway(2)) / 2,
        "7": (halfway(3) + halfway(4)) / 2,
        "3": (bones.base[1] + bones.head[1]) / 2 + np.array([-9.0, 0.0, -3.0]) * size,
    }
    inside, direction = np.empty((len(LABELS), 3)), np.tile(up, (len(LABELS), 1))
    for k, label in enumerate(LABELS):
        step_along, step_across = who.offsets[k]
        if label in starts:
            inside[k] = starts[label] + np.array([step_across, step_along, 0.0])
            if label == "3":
                direction[k] = np.array([-0.42, 0.0, 0.9])
        else:
            finger, side = (4, _ULNAR) if label == "2" else (1, _RADIAL)
            row = BONES.index("thumb0") + 3 * finger + 2
            angle = np.radians(side * _CORNER_DEG) + step_across / 6.0
            inside[k] = bones.at(BONES[row], (0.0, nail_base_mm(bones, finger, size) - 0.05 * cun + step_along, 0.0))
            direction[k] = bones.rotation[row] @ np.array([np.sin(angle), 0.0, np.cos(angle)])
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    place = field.meet(inside, direction)
    return place, field.gradient(place).astype(np.float64)
