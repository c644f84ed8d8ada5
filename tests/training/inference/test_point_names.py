"""What points are called on the page."""

from dataclasses import replace

from acusim import acupoints
from training.inference.point_names import HEAD_POINTS, hand_points
from training.tasks.hand_points import read_points


def test_known_misspellings_are_mended_for_people_and_kept_for_machines():
    found = {point.name: (point.code, point.standard_code, point.zh, point.side) for point in HEAD_POINTS}
    assert found["LI120_迎香_left"] == ("LI120L", "LI20", "迎香", "left")
    assert found["ST2_四目_right"] == ("ST2R", "ST2", "四白", "right")
    assert found["BL11_大枢_left"][2] == "大杼"
    assert found["DU22_卤会"] == ("DU22", "DU22", "囟会", "mid")
    assert found["EX-HN15_颈百芳_right"][2] == "颈百劳"
    assert found["EX-HN1_001_四神聪"] == ("EX-HN1.1", "EX-HN1.1", "四神聪", "mid")
    assert found["EX-HN1_003"] == ("EX-HN1.3", "EX-HN1.3", "四神聪", "mid")
    assert found["LI17_天鼎_left"] == ("LI17L", "LI17", "天鼎", "left")
    assert tuple(found) == acupoints.NAMES
    assert all(point.zh and not point.zh.isascii() for point in HEAD_POINTS)
    noted = sum("typo" in point.note for point in acupoints.ACUPOINTS)
    assert noted == sum(point.standard_code not in point.name or point.zh not in point.name for point in HEAD_POINTS
                        if not point.name.startswith("EX-HN1_"))  # fmt: skip


def test_every_point_of_the_head_has_its_pinyin_and_place():
    found = {point.name: point for point in HEAD_POINTS}
    assert all(point.pinyin.isalpha() and point.pinyin.istitle() and len(point.location) > 10 for point in HEAD_POINTS)
    assert (found["DU20_百会"].pinyin, found["ST2_四目_left"].pinyin) == ("Baihui", "Sibai")
    assert found["LI120_迎香_left"].location == found["LI120_迎香_right"].location
    # One name, one spelling: two codes have the same Chinese name only where they have the same pinyin.
    pairs = {(point.zh, point.pinyin) for point in HEAD_POINTS}
    assert len(pairs) == len({zh for zh, _ in pairs})
    assert {point.pinyin for point in HEAD_POINTS if point.zh == "印堂"} == {"Yintang"}
    assert [found[f"EX-HN1_00{k}" + ("_四神聪" if k == 1 else "")].pinyin for k in (1, 2, 3, 4)] == ["Sishencong"] * 4


def test_points_of_the_hand():
    si1, *_, li4 = hand_points(read_points().points)
    assert (si1.code, si1.meridian, si1.zh, si1.pinyin, si1.side) == ("SI1", "SI", "少泽", "Shaoze", "")
    assert (li4.name, li4.zh) == ("LI4", "合谷")
    assert all(len(point.location) > 10 for point in hand_points(read_points().points))
    # A mapping file of one's own may use any code, those of the head too, and its own spelling.
    (own,) = hand_points([replace(read_points().points[0], id="LI20", pinyin="Own")])
    assert own.pinyin == "Own" and "nose" in own.location
    assert "second metacarpal" in li4.location and "toothache" in li4.use


def test_classical_uses_are_those_of_the_book():
    found = {point.standard_code: point.use for point in HEAD_POINTS}
    # Zhenjiu Dacheng: 迎香 主鼻塞不闻香臭; 瞳子髎 主目痒; 率谷 主…醉后酒风; 强间 主头痛目眩; 印堂 治小儿惊风
    assert "loss of smell" in found["LI20"]
    assert "itching eyes" in found["GB1"]
    assert "wine" in found["GB8"]
    assert "headache and dizziness" in found["DU18"]
    assert found["DU29"] == found["EX-HN3"] == "children's convulsions"
    assert {code for code, use in found.items() if not use and "EX-" not in code} == set()
    assert found["EX-HN1.1"] == ""  # 四神聪 is not in the book
