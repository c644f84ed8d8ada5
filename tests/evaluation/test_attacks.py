"""Attacks whose displacements are known, and what the certificate makes of them on a rendered head."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from acusim.layout import scan
from acusim.pictures import encode, read_rgb
from evaluation import attacks as module
from evaluation.attacks import (
    CARRIERS,
    HARMLESS,
    MOVES,
    attacks,
    carried,
    cross_faded,
    displaced,
    harmless,
    restored,
    transferred,
)
from evaluation.certificate import Judge
from evaluation.copies import BLUR, Witnessed, second_witness
from evaluation.deciding import median_contrast
from evaluation.run import plan
from evaluation.settings import PairSettings
from evaluation.structure import DARK, Inside, Maps
from evaluation.subjects import Subject, load, tasks_of
from experiments import attacks as command
from synthetic.generate import generate
from synthetic.settings import HeadSettings
from tests.evaluation.conftest import draw_skin, relit

pytestmark = pytest.mark.numeric
Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two heads from the front at 512 pixels, and the same under another light."""
    place = tmp_path_factory.mktemp("attacks")
    generate(HeadSettings(out=place / "a", identities=2, views="1", size=512, seed=3))
    for sample in scan(place / "a").samples:
        target = place / "b" / sample.image
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(encode(relit(read_rgb(place / "a" / sample.image).pixels), ".png"))
    return place / "a", place / "b"


@pytest.fixture(scope="module")
def subject(roots: tuple[Path, Path]) -> Subject:
    """The first head, with the other one as a stranger."""
    settings = PairSettings(original=roots[0], augmented=roots[1], out=roots[0].with_name("out"))
    found = load(settings, tasks_of(plan(settings).pairs)[0])
    assert found.stranger is not None and len(found.points) > 20
    return found


def test_what_is_moved_is_where_it_is_said_to_be():
    pixels = np.zeros((96, 128, 3), np.uint8)
    cv2.circle(pixels, (40, 50), 4, (255, 255, 255), -1)
    cosine, sine = np.cos(np.pi / 6), np.sin(np.pi / 6)
    turned = displaced(pixels, module._affine([[cosine, -sine], [sine, cosine]], (64.5, 48.5), (3, 0)))
    rows, columns = np.nonzero(turned[..., 0] > 127)
    # (40.5, 50.5) is (-24, 2) from the centre, which becomes (-21.8, -10.3), and 3 to the right.
    assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx((45.7, 38.2), abs=0.2)


def test_detail_and_shares_by_hand():
    light, dark = np.full((32, 32, 3), 200, np.uint8), np.full((32, 32, 3), 100, np.uint8)
    assert (cross_faded(light, dark, 0.2) == 120).all()
    assert (restored(light, dark, 0.2) == 120).all(), "light stays"
    ramp = (np.arange(64, dtype=np.uint8) % 4)[None, :, None].repeat(64, 0).repeat(3, 2) * 20 + 90
    again = restored(ramp, np.full_like(ramp, 120), 0.5).astype(int)
    assert np.abs(np.diff(again[32, 24:40, 0]) - np.diff(ramp[32, 24:40, 0].astype(int))).max() <= 2, "detail is back"
    lined = light.copy()
    lined[:, 16] = 220
    taken = transferred(lined, dark, 1.5).astype(int) - transferred(light, dark, 1.5)
    assert taken[16, 16, 0] >= 14 and np.abs(taken[:, :8]).max() == 0, "the line comes along, the light does not"
    with pytest.raises(ValueError, match="'fog' is not one of alone"):
        carried(light, dark, "fog", np.random.default_rng(0))


def test_every_move_and_carrier_is_there(subject: Subject):
    made = list(attacks(subject, np.random.default_rng(0)))
    moves = {attack.move for attack in made}
    assert set(MOVES) - moves <= {"ears", "hairline"}, "hair may hide these"
    covers = {attack.carrier for attack in made if attack.move == "cover"}
    assert covers == {name for name in CARRIERS if "%" not in name}
    assert {attack.carrier for attack in made if attack.move == "eyes"} == set(CARRIERS)
    for attack in made:
        assert attack.pixels.shape == subject.original.shape and attack.moved_px.shape == (len(subject.points),)
        assert (attack.original != subject.original).any() == attack.carrier.startswith("grain")
    assert [attack.carrier for attack in harmless(subject, np.random.default_rng(0))] == list(HARMLESS)


@pytest.mark.slow
def test_old_texture_over_moved_features_is_not_trusted(subject: Subject):
    judge, random = Judge(), np.random.default_rng(1)
    far = wrong = 0
    for attack in attacks(subject, random, ("alone", "detail 1", "detail 1.5", "detail 2", "20 % original", "grain 3")):
        certificate = judge.compare(subject.reference(attack.original), attack.pixels)
        moved = attack.moved_px * 0.5405 > 5
        far += int(moved.sum())
        wrong += int((moved & certificate.trusted).sum()) if certificate.valid else 0
        if attack.move in ("shift", "tilt", "scale"):
            assert not certificate.valid, (attack.move, attack.carrier)
        if attack.move == "cover":
            assert not (moved & certificate.trusted).any(), attack.carrier
    assert far > 300 and wrong <= 0.01 * far


def test_a_faint_copy_of_the_head_is_found_and_harmless_edits_are_not(subject: Subject):
    judge, reference = Judge(), subject.reference()
    shifted = displaced(subject.augmented, module._affine(np.eye(2), (0, 0), (12, 5)))
    for share in (0.8, 0.5, 0.2):
        certificate = judge.compare(reference, cross_faded(subject.original, shifted, share))
        assert not certificate.valid, share
    still = {
        attack.carrier: judge.compare(reference, attack.pixels)
        for attack in harmless(subject, np.random.default_rng(0))
    }
    assert [name for name, certificate in still.items() if not certificate.valid] in ([], ["cartoon"])
    assert all(still[name].trusted[: len(subject.points)].mean() > 0.3 for name in ("as it is", "noise 10", "JPEG 30"))


def test_how_much_of_the_structure_is_there_by_hand():
    waves = np.sin(np.arange(128, dtype=np.float32))  # six pixels long
    band, other = np.tile(waves, (128, 1)), np.tile(waves[:, None], 128)
    inside, empty = Inside.of(np.ones((256, 256), bool)), np.zeros((128, 128), np.float32)
    points = np.array([(128.0, 128.0), (90.0, 170.0)])

    def witness(shown: NDArray[np.float32]) -> tuple[list[float], list[float]]:
        one, two = (Maps(empty, empty, empty, each, np.zeros((32, 32), np.float32)) for each in (band, shown))
        second = second_witness(Witnessed.of(one, inside), two, (empty, empty), inside, points)
        return second.kept.tolist(), second.alike.tolist()

    assert witness(band) == (pytest.approx([1, 1], abs=1e-3), pytest.approx([1, 1], abs=1e-3))
    assert witness(-0.4 * band) == (pytest.approx([-0.4] * 2, abs=1e-3), pytest.approx([-1, -1], abs=1e-3))
    assert witness(empty) == ([0, 0], [0, 0])
    kept, alike = witness(0.6 * band + 0.8 * other)  # of two that are orthogonal
    assert kept == pytest.approx([0.6, 0.6], abs=0.02) and alike == pytest.approx([0.6, 0.6], abs=0.02)


def test_what_is_left_of_the_contrast_by_hand():
    random = np.random.default_rng(0)
    creases, others = (cv2.GaussianBlur(random.normal(size=(128, 128)).astype(np.float32), (0, 0), 1) for _ in range(2))
    inside, empty = Inside.of(np.ones((256, 256), bool)), np.zeros((128, 128), np.float32)
    points = np.array([(128.0, 128.0), (90.0, 170.0)])

    def left(shown: NDArray[np.float32], level: float = 100) -> list[float]:
        """Of creases on a level of 100."""
        lights = (np.full((32, 32), np.log(DARK + each), np.float32) for each in (100, level))
        one, two = (
            Maps(empty, each, empty, empty, light) for each, light in zip((creases, shown), lights, strict=True)
        )
        return second_witness(Witnessed.of(one, inside), two, (empty, empty), inside, points).contrast.tolist()

    assert left(creases) == pytest.approx([1, 1], abs=1e-3)
    assert left(0.8 * creases) == pytest.approx([0.8, 0.8], abs=0.01)
    assert left(0.8 * creases + 0.2 * others) == pytest.approx([0.8, 0.8], abs=0.05)
    assert left(cv2.GaussianBlur(creases, (0, 0), BLUR / 2)) == pytest.approx([1, 1], abs=0.01), "less sharp"
    assert left((100 + DARK) / (131 + DARK) * creases, 131) == pytest.approx([1, 1], abs=0.01), "31 levels are added"
    for factor in (0.2, 0.5, 0.8):
        shown = factor * (100 + DARK) / (100 * factor + DARK) * creases
        assert left(shown, 100 * factor) == pytest.approx([1, 1], abs=0.03), "all levels are so many times as high"
    assert left(0.8 * creases, 50) == pytest.approx([0.8 * 74 / 62] * 2, abs=0.01)
    assert left(creases, 20) == pytest.approx([44 / 124 * 100 / 20] * 2, abs=0.02), "five times darker, DARK deducted"
    assert left(creases, 2) == pytest.approx([26 / 124 * 100 / 8] * 2, abs=0.02), "black has no levels to divide by"
    assert left(creases, 95) == pytest.approx([119 / 124 * 100 / 95] * 2, abs=0.01)
    assert left(empty) == pytest.approx([0, 0], abs=0.05)


def test_a_blend_loses_contrast_in_the_median_and_all_trust(subject: Subject):
    judge, reference = Judge(), subject.reference()
    moved = displaced(subject.original, module._affine(np.eye(2), (0, 0), (12, 5)))
    for share in (0.85, 0.8, 0.7):
        evidence = judge.measure(reference, cross_faded(subject.original, moved, share))
        assert median_contrast(evidence.figures) < judge.thresholds.least_contrast, share
        assert not judge.decide(reference, evidence).trusted.any(), share


def test_no_structure_is_no_second_copy():
    pixels, mask = draw_skin()
    smooth = np.repeat((mask * np.linspace(60, 200, 256)).astype(np.uint8)[..., None], 3, axis=2)
    points = np.array([(128.0, 128.0)])
    certificate = Judge().judge(smooth, smooth.copy(), coords_px=points, mask=mask)
    assert certificate.valid and certificate.copy < 0.1 and not certificate.trusted.any()
    assert Judge().judge(pixels, relit(pixels), coords_px=points, mask=mask).copy < 0.1


@pytest.mark.slow
def test_the_command_writes_tables_and_a_picture(
    roots: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    line = ["--original", str(roots[0]), "--augmented", str(roots[1])]
    assert command.main([*line, "--out", str(tmp_path), "--workers", "2"]) == 0
    text = (tmp_path / "attacks.md").read_text()
    assert "2 persons. Of " in text and "| as it is | 2 | 100.0 [" in text and "| detail 1.5 |" in text
    rows = json.loads((tmp_path / "attacks.json").read_text())
    assert all(row["wrong"] <= row["far"] <= row["visible"] and row["trusted"] <= row["visible"] for row in rows)
    assert read_rgb(tmp_path / "attacks.jpg").pixels.shape[1] == 160 * len(command.EVERY)
    assert command.main([*line, "--out", str(roots[0])]) == 1
    assert "name another folder" in capsys.readouterr().err
