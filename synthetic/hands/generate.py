"""Creates a data set of hands: what decides an image, and the content of its two files.

An image depends on seed, its number and its subject alone, so any number of workers, interrupted or not, gives the same
bytes.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from acusim.parallel import Work
from acusim.pictures import encode
from synthetic.hands import __version__
from synthetic.hands.camera import Camera, frame_hand, place_hand
from synthetic.hands.hand_points import hand_points
from synthetic.hands.labelling import PointTruth, labelme_file, seen_points
from synthetic.hands.places import draw_table, light_over_table, studio_table
from synthetic.hands.plan import HandPicture, open_tasks, prepare
from synthetic.hands.render import PosedHand, hand_mask, posed_hand, render_hand
from synthetic.hands.skeleton import Pose, build_skeleton, draw_pose
from synthetic.hands.skin import SkinMaps, chart_places, paint_skin
from synthetic.hands.subject import HandSubject, hand_subject
from synthetic.hands.surface import HandField, build_mesh
from synthetic.identity import random_for
from synthetic.settings import HandSettings
from synthetic.workers import Summary, TaskResult, peak_rss_mb, run_tasks, write_files

_ASPECTS = ((3, 4), (4, 3), (1, 1))
_WRIST_MM = -14.0
"""The image is framed by everything beyond this place on the forearm."""


@dataclass(frozen=True)
class Shot:
    """How one picture is taken."""

    pose: Pose
    kind: str
    """Name of the pose's kind."""
    placement: dict[str, float]
    """Arguments of camera.place_hand."""
    framing: dict[str, Any]
    """Arguments of camera.frame_hand."""
    size: tuple[int, int]
    """(width, height)."""

    def describe(self) -> dict[str, Any]:
        """Plain values for provenance."""
        return {
            "pose": self.kind,
            "flexion": [[round(angle, 2) for angle in finger] for finger in self.pose.flexion],
            "thumb": [round(angle, 2) for angle in self.pose.thumb],
            **{name: round(value, 2) for name, value in self.placement.items()},
            "tilt": round(self.framing["tilt"], 2),
        }


def draw_shot(settings: HandSettings, item: HandPicture) -> Shot:
    """Pose and view of a picture, by chance."""
    rng = random_for("hand shot", settings.seed, item.number)
    kind, pose = draw_pose(rng, item.face)
    across, down = _ASPECTS[int(rng.integers(len(_ASPECTS)))]
    unit = settings.size / max(across, down)
    placement = {
        "yaw": float(rng.uniform(-65, 65)),
        "pitch": float(np.clip(6 * rng.standard_normal(), -14, 14)),
        "roll": float(np.clip(5 * rng.standard_normal(), -14, 14)),
        "lift": float(rng.uniform(0, 6) if rng.uniform() < 0.7 else rng.uniform(6, 60)),
    }
    framing = {
        "tilt": float(25 * rng.uniform() ** 0.8),
        "azimuth": float(rng.uniform(0, 360)),
        "view_deg": float(rng.uniform(22, 48)),
        "fill": float(rng.uniform(0.6, 0.93)),
        "shift": (float(rng.uniform(-0.8, 0.8)), float(rng.uniform(-0.8, 0.8))),
    }
    return Shot(pose, kind, placement, framing, (round(across * unit), round(down * unit)))


def take(who: HandSubject, shot: Shot, side: str, face: str) -> tuple[PosedHand, Camera, PointTruth]:
    """A hand posed, laid on the table and seen: all that a label needs.

    Args:
        who: the person.
        shot: pose and view.
        side: L or R.
        face: the side turned up, back or palm.
    """
    bones = build_skeleton(who, shot.pose)
    field = HandField(who, bones)
    mesh = build_mesh(field, bones)
    places, normals = hand_points(who, bones, field)
    placement = place_hand(mesh.vertices, side, face, **shot.placement)
    hand = posed_hand(who, mesh, chart_places(mesh, field, bones), placement)
    in_view = hand.vertices[mesh.vertices[:, 1] > _WRIST_MM].astype(np.float64)
    camera = frame_hand(in_view, shot.size, **shot.framing)
    truth = seen_points(hand.scene, camera, placement.points(places), placement.directions(normals))
    return hand, camera, truth


def make_picture(
    settings: HandSettings, item: HandPicture, who: HandSubject, skin: SkinMaps
) -> list[tuple[str, bytes]]:
    """The files of one picture by their paths: its mask if the data set has masks, its labelme file, its PNG."""
    shot = draw_shot(settings, item)
    hand, camera, truth = take(who, shot, item.side, item.face)
    surface, table = draw_table(settings.seed, item.number)
    if settings.light == "studio":
        surface, table = "studio", studio_table()
    light = light_over_table(settings.light, settings.seed, item.number)
    rng = random_for("hand samples", settings.seed, item.number)
    pixels = render_hand(hand, skin, table, light, camera, quality=settings.quality, rng=rng)
    facts = {
        "subject": item.subject,
        "side": {"L": "left", "R": "right"}[item.side],
        "face": item.face,
        "table": surface,
        **shot.describe(),
    }
    record = {
        "generator": "synthetic hands",
        "version": __version__,
        "seed": settings.seed,
        "picture": item.number,
        "person": who.describe(),
        "size": settings.size,
        "quality": settings.quality,
        **facts,
        "light": light.describe(),
    }
    files = [(item.mask, _grey_png(hand_mask(hand, camera)))] if settings.masks else []
    files.append((item.label, labelme_file(truth, camera, item.image, facts)))
    return [*files, (item.image, encode(pixels, ".png", record))]


def _grey_png(values: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def run_task(settings: HandSettings, task: tuple[HandPicture, ...], work: Work) -> TaskResult:
    """Creates some images of one subject, until it is asked to stop.

    Raises:
        OutputError: a file cannot be written.
    """
    import cv2

    cv2.setNumThreads(1)
    created = 0
    who = hand_subject(settings.seed, task[0].subject)
    skin = paint_skin(who, settings.seed)
    for item in task:
        if work.stopping():
            break
        write_files(settings.out, make_picture(settings, item, who, skin))
        created += 1
        work.report(1)
    return TaskResult(created, peak_rss_mb())


def generate(settings: HandSettings, on_progress: Callable[[int, int], None] | None = None) -> Summary:
    """Creates the missing images of a data set.

    Args:
        settings: of the data set.
        on_progress: called with (images created so far in this run, images to create).

    Raises:
        ConfigError: the folder was created with other arguments.
        OutputError: the folder cannot be written.
    """
    prepare(settings)
    tasks, finished = open_tasks(settings)
    return run_tasks(
        partial(run_task, settings),
        tasks,
        workers=settings.workers,
        total=sum(map(len, tasks)),
        finished=finished,
        out=settings.out,
        cluster=settings.cluster,
        on_progress=on_progress,
    )
