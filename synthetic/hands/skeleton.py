"""Bones and poses: forward kinematics of a right hand.

Hand frame (mm): origin in the middle of the wrist crease, x towards the little finger (ulnar), y towards the middle
finger (distal), z out of the back of the hand (dorsal). A bone's frame is at its near end with y along the bone and
z dorsal, so that flexion turns about x. A left hand is the mirror image in x, applied at the very end.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthetic.hands.subject import METACARPAL_MM, PHALANGES_MM, HandSubject

Floats = NDArray[np.float64]

BONES = (
    ("forearm", "palm", "thumb0", "thumb1", "thumb2")
    + ("index0", "index1", "index2", "middle0", "middle1", "middle2")
    + ("ring0", "ring1", "ring2", "little0", "little1", "little2")
)
"""Segments that move by themselves. thumb0 is its metacarpal; elsewhere 0, 1, 2 are the phalanges from the palm out."""
FOREARM, PALM = 0, 1

METACARPAL_BASES_MM = ((-17.0, 17.0, -6.0), (-13.0, 24.0, 1.0), (-2.5, 29.0, 2.0), (8.0, 27.5, 1.0), (16.5, 23.5, -2.0))
METACARPAL_ANGLES = (0.0, -8.0, 0.0, 8.0, 16.0)
"""Degrees in the plane of the palm, towards the little finger; the thumb's own moves."""

CLOSED_ANGLES = (0.0, -3.5, -0.5, 3.0, 8.0)
SPREAD_ANGLES = (0.0, -16.0, -2.0, 13.0, 30.0)
"""Fingers in the plane of the palm, degrees, side by side and spread as far as they go."""
THUMB_ROLL = 52.0
"""How far the thumb's nail is turned from dorsal towards radial, degrees."""


def turn(axis: int, degrees: float) -> Floats:
    """[3, 3] right-handed rotation about x, y or z."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    out = np.eye(3)
    out[first, first] = out[second, second] = c
    out[first, second], out[second, first] = -s, s
    return out


@dataclass(frozen=True)
class Pose:
    """Angles of the joints in degrees; flexion is positive towards the palm."""

    flexion: tuple[tuple[float, float, float], ...]
    """[4, 3] index to little: knuckle (MCP), PIP, DIP."""
    spread: tuple[float, ...]
    """[4] 0 side by side (CLOSED_ANGLES) to 1 (SPREAD_ANGLES)."""
    thumb: tuple[float, float, float, float]
    """Metacarpal away from the index finger, and out of the palm's plane; flexion of MCP and IP."""
    wrist: tuple[float, float]
    """Flexion and ulnar deviation of the hand against the forearm."""


LIMITS = {"MCP": (-10.0, 80.0), "PIP": (0.0, 100.0), "DIP": (0.0, 65.0)}
"""Degrees a healthy finger reaches without force; poses are cut to it."""

FLAT = Pose(((0.0, 0.0, 0.0),) * 4, (0.4,) * 4, (38.0, 12.0, 5.0, 5.0), (0.0, 0.0))
"""Straight fingers, a little apart."""


def draw_pose(rng: np.random.Generator, face: str) -> tuple[str, Pose]:
    """A pose by chance and what it is called. Palms are shown open, the back of the hand in any pose."""
    kinds, shares = ("flat", "spread", "relaxed", "curled"), np.array([0.42, 0.23, 0.26, 0.09])
    if face == "palm":
        shares = np.array([0.4, 0.3, 0.3, 0.0])
    kind = kinds[int(rng.choice(4, p=shares))]
    curl = {"flat": (0, 6), "spread": (0, 6), "relaxed": (6, 24), "curled": (30, 75)}[kind]
    bend = rng.uniform(*curl)
    spread = rng.uniform(0.6, 1.0) if kind == "spread" else rng.uniform(0.0, 0.6)
    flexion = []
    for _ in range(4):
        own = bend * rng.uniform(0.75, 1.25) + 2 * rng.standard_normal()
        pip = own * rng.uniform(0.9, 1.4)
        angles = (own * rng.uniform(0.5, 1.0), pip, pip * rng.uniform(0.4, 0.7))
        flexion.append(tuple(float(np.clip(a, *LIMITS[k])) for a, k in zip(angles, LIMITS, strict=True)))
    own_spread = tuple(float(np.clip(spread + 0.1 * rng.standard_normal(), 0, 1)) for _ in range(4))
    thumb = (
        float(rng.uniform(22, 52)),
        float(rng.uniform(0, 25)),
        float(rng.uniform(-2, 12) + 0.3 * bend),
        float(rng.uniform(-5, 15) + 0.3 * bend),
    )
    wrist = (float(np.clip(6 * rng.standard_normal(), -15, 15)), float(np.clip(7 * rng.standard_normal(), -15, 15)))
    return kind, Pose(tuple(flexion), own_spread, thumb, wrist)


@dataclass(frozen=True)
class Skeleton:
    """Where the bones are."""

    rotation: Floats
    """[17, 3, 3] of the segments in the order of BONES; columns are their x, y, z."""
    origin: Floats
    """[17, 3] mm."""
    length: Floats
    """[17] mm; of the palm and the forearm it is not used."""
    base: Floats
    """[5, 3] near ends of the metacarpals."""
    head: Floats
    """[5, 3] their far ends: the knuckles (MCP joints)."""

    def at(self, bone: str, local: tuple[float, float, float] | Floats) -> Floats:
        """[3] a place given in a segment's own frame."""
        k = BONES.index(bone)
        return self.origin[k] + self.rotation[k] @ np.asarray(local, np.float64)


def build_skeleton(who: HandSubject, pose: Pose) -> Skeleton:
    """The bones of a right hand in a pose."""
    angles = [
        (1 - s) * closed + s * spread
        for s, closed, spread in zip((0, *pose.spread), CLOSED_ANGLES, SPREAD_ANGLES, strict=True)
    ]
    away, out_of_plane, thumb_mcp, thumb_ip = pose.thumb
    thumb = turn(2, away) @ turn(0, -out_of_plane) @ turn(1, -THUMB_ROLL)
    flexion = [(0.0, thumb_mcp, thumb_ip), *pose.flexion]
    flex, deviation = pose.wrist
    # The hand stays and the forearm moves, so that a pose of the fingers looks the same with any wrist.
    return _assembled(who, thumb, angles, flexion, turn(2, deviation) @ turn(0, flex))


def chart_skeleton(who: HandSubject) -> Skeleton:
    """The hand laid out flat with the thumb's nail up: the pose in which skin is painted."""
    angles = [0.0, -15.0, -1.0, 12.0, 28.0]
    return _assembled(who, turn(2, 52.0), angles, [(0.0, 0.0, 0.0)] * 5, np.eye(3))


def _assembled(
    who: HandSubject, thumb: Floats, angles: list[float], flexion: list[tuple[float, float, float]], forearm: Floats
) -> Skeleton:
    count = len(BONES)
    rotation, origin, length = np.tile(np.eye(3), (count, 1, 1)), np.zeros((count, 3)), np.zeros(count)
    rotation[FOREARM] = forearm
    stretch = who.scale * np.array([who.breadth, 1.0, 1.0])
    base = np.array(METACARPAL_BASES_MM) * stretch
    metacarpal = [thumb, *(turn(2, -angle) for angle in METACARPAL_ANGLES[1:])]
    head = np.empty((5, 3))
    for finger in range(5):
        size = who.scale * who.fingers[finger]
        bones_mm = [phalanx * size for phalanx in PHALANGES_MM[finger] if phalanx]
        own = METACARPAL_MM[finger] * (size if finger == 0 else who.scale)
        along = metacarpal[finger][:, 1] * own
        head[finger] = base[finger] + (along if finger == 0 else along * [who.breadth, 1.0, 1.0])
        first = BONES.index("thumb0") + 3 * finger
        if finger == 0:
            frames, lengths, place = [thumb], [own, *bones_mm], base[0]
            turns = flexion[0][1:]
        else:
            frames = [turn(2, -angles[finger]) @ turn(0, -flexion[finger][0])]
            lengths, place = bones_mm, head[finger]
            turns = flexion[finger][1:]
        for angle in turns:
            frames.append(frames[-1] @ turn(0, -angle))
        for step in range(3):
            rotation[first + step], origin[first + step], length[first + step] = frames[step], place, lengths[step]
            place = place + frames[step][:, 1] * lengths[step]
    return Skeleton(rotation, origin, length, base, head)
