"""Measures the synthetic hands and prints what docs/results/synthetic.md quotes.

    python -m experiments.synthetic_hands                  # everything, some minutes
    python -m experiments.synthetic_hands sheet            # docs/images/synthetic_hands.jpg

Sections: visible, detect (needs mediapipe), speed, sheet.
"""

import argparse
import io
import tempfile
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
from PIL import Image

from experiments.sections import run_sections
from synthetic.hands.camera import place_hand
from synthetic.hands.generate import draw_shot, generate, make_picture, take
from synthetic.hands.hand_points import LABELS, NAMES
from synthetic.hands.plan import picture
from synthetic.hands.skeleton import BONES, build_skeleton
from synthetic.hands.skin import paint_skin
from synthetic.hands.subject import hand_subject
from synthetic.settings import HandSettings, Quality

SHEET = Path(__file__).parents[1] / "docs" / "images" / "synthetic_hands.jpg"
TILE, COLUMNS, MAX_BYTES = 224, 6, 200_000
SEED = 0


def visible(count: int) -> None:
    """How often each point can be seen, and all of them."""
    settings = HandSettings(out=Path("."), count=count, seed=SEED, face="both")
    seen: dict[str, list[np.ndarray]] = {}
    for number in range(count):
        item = picture(settings, number)
        shot = draw_shot(settings, item)
        truth = take(hand_subject(SEED, item.subject), shot, item.side, item.face)[2]
        for group in (item.face, f"{item.face}, {shot.kind}"):
            seen.setdefault(group, []).append(truth.visible)
    print(
        f"\nvisible, % of {count} hands\n{'':16}{'hands':>6}{'all 7':>7}" + "".join(f"{label:>6}" for label in LABELS)
    )
    for group in sorted(seen):
        rows = np.array(seen[group])
        shares = 100 * np.r_[rows.all(1).mean(), rows.mean(0)]
        print(f"{group:16}{len(rows):6d}{shares[0]:7.1f}" + "".join(f"{share:6.1f}" for share in shares[1:]))
    print("; ".join(f"{label} {name}" for label, name in zip(LABELS, NAMES, strict=True)))


def detect(count: int) -> None:
    """Whether MediaPipe Hands finds them, distinguishes left and right, and has the joints where the bones are."""
    from mediapipe.python.solutions.hands import Hands  # type: ignore[import-untyped]

    settings = HandSettings(out=Path("."), count=count, seed=SEED, face="both")
    with Hands(static_image_mode=True, max_num_hands=1) as detector:
        for face in ("back", "palm"):
            found: list[bool] = []
            errors = []
            for number in range(count):
                item = picture(settings, number)
                if item.face != face:
                    continue
                who, shot = hand_subject(SEED, item.subject), draw_shot(settings, item)
                pixels = np.array(
                    Image.open(io.BytesIO(make_picture(settings, item, who, paint_skin(who, SEED))[-1][1]))
                )
                answer: Any = detector.process(pixels)
                found.append(bool(answer.multi_hand_landmarks))
                if not found[-1]:
                    continue
                side = answer.multi_handedness[0].classification[0].label
                hand, camera, _ = take(who, shot, item.side, item.face)
                bones = build_skeleton(who, shot.pose)
                first = BONES.index("index0")
                placement = place_hand(hand.mesh.vertices, item.side, item.face, **shot.placement)
                true = camera.project(placement.points(np.vstack([bones.origin[first:], np.zeros((1, 3))])))
                marks = answer.multi_hand_landmarks[0].landmark
                # Its joints of the fingers are 5, 6, 7; 9, 10, 11; ... and 8, 12, ... are the tips; 0 is the wrist.
                order = [k + step for k in (5, 9, 13, 17) for step in range(3)]
                theirs = np.array([(marks[k].x * camera.width, marks[k].y * camera.height) for k in order])
                # MediaPipe takes pictures for mirrored ones: its Left is a right hand.
                right_side = (side == "Left") == (item.side == "R")
                palm_px = np.linalg.norm(true[3] - true[-1])
                errors.append((right_side, np.linalg.norm(theirs - true[:-1], axis=1).mean() / palm_px))
            sides, distance = np.array(errors).T
            print(
                f"detect {face}: found {sum(found)} of {len(found)}, side right in {int(sides.sum())}; mean distance "
                f"of 12 joints {100 * np.median(distance):.1f} % of the palm's length (median; p95 "
                f"{100 * np.percentile(distance, 95):.1f})"
            )


def speed(workers: int) -> None:
    """Pictures a second with encoding and writing."""
    print(f"\nspeed at 512, whole run with process start ({workers} workers)")
    for quality in get_args(Quality):
        with tempfile.TemporaryDirectory() as folder:
            settings = HandSettings(out=Path(folder) / "hands", count=24, quality=quality, subjects=4, workers=workers)
            row = generate(settings)
        print(
            f"{quality:8}{row.created:4d} pictures {row.seconds:6.1f} s {row.views_per_second:6.2f}/s   "
            f"peak RSS {row.peak_rss_mb} MB a worker"
        )


def sheet() -> None:
    """Writes the contact sheet: rows of backs, then palms; in every second row the seen points are marked."""
    tiles = []
    for number in range(4 * COLUMNS):
        face = "palm" if number >= 3 * COLUMNS else "back"
        settings = HandSettings(out=Path("."), count=1, seed=SEED, size=2 * TILE, face=face, quality="fine")
        item = picture(settings, number)
        who = hand_subject(SEED, item.subject)
        (_, label), (_, image) = make_picture(settings, item, who, paint_skin(who, SEED))
        pixels = np.array(Image.open(io.BytesIO(image)))
        if number // COLUMNS % 2:
            truth = take(who, draw_shot(settings, item), item.side, item.face)[2]
            for place in np.round(truth.xy[truth.visible] * 16).astype(int):
                cv2.circle(pixels, tuple(map(int, place)), 5 * 16, (0, 255, 60), 2, cv2.LINE_AA, 4)
        tile = np.full((2 * TILE, 2 * TILE, 3), 255, np.uint8)
        top, left = ((2 * TILE - side) // 2 for side in pixels.shape[:2])
        tile[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
        tiles.append(cv2.resize(tile, (TILE, TILE), interpolation=cv2.INTER_AREA))
    rows = [np.hstack(tiles[k : k + COLUMNS]) for k in range(0, len(tiles), COLUMNS)]
    stream = io.BytesIO()
    Image.fromarray(np.vstack(rows)).save(stream, "JPEG", quality=82)
    data = stream.getvalue()
    assert len(data) <= MAX_BYTES, f"contact sheet is {len(data)} bytes, limit {MAX_BYTES}"
    SHEET.write_bytes(data)
    print(f"\nwrote {SHEET.name}: {len(data)} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the synthetic hands.")
    parser.add_argument("--hands", type=int, default=400, help="for visible and detect (default 400)")
    parser.add_argument("--workers", type=int, default=2)
    run_sections(
        parser,
        {
            "visible": lambda given: visible(given.hands),
            "detect": lambda given: detect(given.hands),
            "speed": lambda given: speed(given.workers),
            "sheet": lambda _: sheet(),
        },
    )


if __name__ == "__main__":
    main()
