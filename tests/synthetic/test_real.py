"""Against the real thing: AcuSim's own labels of ten frames, and the face detector of the evaluation."""

from pathlib import Path

import numpy as np
import pytest

from acusim import rig
from acusim.labels import read_label
from acusim.sample_id import SampleId
from synthetic.head import Head, build_head
from synthetic.identity import identities
from synthetic.labelling import make_label, visible_points
from synthetic.lights import studio_light
from synthetic.render import render

REAL_LABELS = Path(__file__).parents[1] / "data" / "acusim"
"""Labels of M_Asher_N_HD, see ATTRIBUTION.txt there."""


def test_visibility_agrees_with_real_labels(haired: Head) -> None:
    """A different head with different hair, yet the same points should be seen in most frames."""
    files = sorted(REAL_LABELS.glob("M_Asher_N_HD_*.json"))
    assert len(files) == 10
    agree, real_share = [], []
    for file in files:
        real = read_label(file).listed
        agree.append((visible_points(haired, SampleId.parse(file.stem).frame) == real).mean())
        real_share.append(real.mean())
    floor = 1 - np.mean(real_share)
    assert np.mean(agree) > 0.93 > floor, (np.mean(agree), floor)


def test_labels_lie_near_the_real_ones(haired: Head) -> None:
    """On the mean head a visible point falls within 2 mm of where AcuSim's label has it."""
    for file in sorted(REAL_LABELS.glob("M_Asher_N_HD_*.json")):
        frame = SampleId.parse(file.stem).frame
        real, made = read_label(file), make_label(haired, frame)
        both = real.listed & made.listed
        _, depth = rig.project(haired.acupoints_mm[both], frame, 1.0)
        miss_mm = np.linalg.norm(real.xy[both] - made.xy[both], axis=1) * rig.mm_per_px(depth, 1.0)
        assert np.median(miss_mm) < 1.0 and miss_mm.max() < 2.5, (frame, np.median(miss_mm), miss_mm.max())
        assert np.median(np.abs(real.n[both] - made.n[both])) < 0.2


@pytest.mark.slow
def test_detector_sees_the_faces() -> None:
    pytest.importorskip("mediapipe")
    from mediapipe.python.solutions.face_mesh import FaceMesh  # type: ignore[import-untyped]

    with FaceMesh(static_image_mode=True, refine_landmarks=True) as detector:
        for who in identities(0, 4):
            head = build_head(who, 0)
            for frame in (1, 4, 34):
                view = render(head, studio_light(), frame, size=512, quality="draft", seed=0)
                assert detector.process(view.rgb).multi_face_landmarks, str(who.sample_id(frame))  # type: ignore[attr-defined]
