"""labelme files: what is read, which way up, and that every fault is told and stops nothing."""

import json
import os
import struct
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from acusim.errors import ConfigError, LabelError, LayoutError
from synthetic.hands.hand_points import LABELS
from tests.training.labelme_files import PLACES, document, pixels
from training.io.labelme import parse_labelme, scan_labelme
from training.tasks.hand_points import read_points

POINTS = read_points()
ORDER = ("2", "5", "8", "4", "6", "7", "3")


def scan(root: Path):
    return scan_labelme(root, POINTS)


def reasons(root: Path) -> dict[str, str]:
    return {problem.path: problem.reason for problem in scan(root).problems}


def test_the_mapping_is_the_papers_and_the_generators() -> None:
    assert POINTS.ids == ("SI1", "SJ3", "LI1", "EX-UE8", "EX-UE7a", "EX-UE7b", "LI4")
    assert [POINTS.index_of(label) for label in ORDER] == list(range(7)) and LABELS == ORDER
    assert POINTS.index_of("合谷") == POINTS.index_of(" hegu ") == POINTS.index_of("３") == 6
    assert POINTS.index_of("1") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "list of [[point]]"),
        ("point = 3", "list of [[point]]"),
        ('[[point]]\nid = "A"', "expected exactly"),
        ("{row}{row}", "given to two points"),
        ("{row}{other}", "names both A and B"),
        ("[[point]", "cannot be read"),
    ],
)
def test_a_wrong_mapping_is_refused(text: str, words: str, tmp_path: Path) -> None:
    row = '[[point]]\nid = "A"\nlabels = ["x"]\npinyin = "a"\nchinese = "a"\nenglish = "a"\nmeridian = "LI"\n'
    text = text.replace("{row}", row).replace("{other}", row.replace('"A"', '"B"').replace('"x"', '"X"'))
    (tmp_path / "points.toml").write_text(text)
    with pytest.raises(ConfigError) as error:
        read_points(tmp_path / "points.toml")
    assert words in str(error.value)


def test_points_come_in_the_mappings_order(make_hand) -> None:
    folder = scan(make_hand())
    assert not folder.problems
    [hand] = folder.hands
    np.testing.assert_array_equal(hand.xy, [PLACES[label] for label in ORDER])
    assert (hand.image, hand.label, hand.size) == ("S0001_L_back_0001.png", "S0001_L_back_0001.json", (40, 50))


@pytest.mark.parametrize("version", ["4.5.6", "5.0.1"])
def test_both_versions_and_a_byte_order_mark(version: str) -> None:
    content = document("a.png", version=version)
    if version.startswith("4"):
        for shape in content["shapes"]:
            del shape["group_id"]
    file = parse_labelme(b"\xef\xbb\xbf" + json.dumps(content).encode(), POINTS)
    assert file.present.all() and file.size == (40, 50)


def test_missing_points_are_missing_and_other_labels_are_counted(make_hand) -> None:
    places = {"2": (1, 2), "9": (3, 4), "合谷": (5, 6)}
    folder = scan(make_hand(label=document("S0001_L_back_0001.png", places)))
    assert not folder.problems and folder.other_labels == {"9": 1}
    [hand] = folder.hands
    assert np.flatnonzero(~np.isnan(hand.xy[:, 0])).tolist() == [0, 6] and hand.xy[6].tolist() == [5, 6]


def test_names_in_chinese_and_in_either_unicode_form(make_hand, tmp_path: Path) -> None:
    make_hand("左手背/张三é_01", document(unicodedata.normalize("NFD", "张三é_01.png")))
    folder = scan(tmp_path)
    assert [hand.image for hand in folder.hands] == ["左手背/张三é_01.png"] and not folder.problems


def test_the_picture_may_lie_elsewhere_in_the_root(tmp_path: Path) -> None:
    (tmp_path / "img").mkdir()
    (tmp_path / "json").mkdir()
    Image.fromarray(pixels(0)).save(tmp_path / "img/a.png")
    (tmp_path / "json/a.json").write_text(json.dumps(document("..\\img\\a.png")))
    folder = scan(tmp_path)
    assert [(hand.image, hand.label) for hand in folder.hands] == [("img/a.png", "json/a.json")]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_coordinates_are_of_the_picture_upright(orientation: int, make_hand) -> None:
    # A white spot at a point of the upright picture, stored as a camera stores it.
    upright = np.zeros((50, 40, 3), np.uint8)
    upright[24:26, 11:13] = 255
    undo = {1: lambda p: p, 2: np.fliplr, 3: lambda p: p[::-1, ::-1], 4: np.flipud, 5: lambda p: p.swapaxes(0, 1)}
    undo |= {6: lambda p: np.rot90(p), 7: lambda p: p[::-1, ::-1].swapaxes(0, 1), 8: lambda p: np.rot90(p, -1)}
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(undo[orientation](upright))
    name = "S0001_L_back_0001.jpg"
    root = make_hand(name, document(name, {**PLACES, "3": (12, 25)}), stored, exif=exif, quality=95)
    [hand] = scan(root).hands
    assert hand.size == (40, 50)
    from training.io.labelme import read_picture

    shown = read_picture(root, hand.image).pixels
    x, y = hand.xy[6]
    assert shown[int(y) - 1 : int(y) + 1, int(x) - 1 : int(x) + 1].min() > 200
    if orientation >= 5:
        turned = document(name, imageHeight=40, imageWidth=50)
        (root / name).with_suffix(".json").write_text(json.dumps(turned))
        assert "without its EXIF turn" in reasons(root)[name]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not a JSON file"),
        ("[" * 100_000, "not a JSON file"),
        ("[1, 2]", 'no list "shapes"'),
        ({"label": []}, 'no list "shapes"'),
        (document("x.png", imagePath=None), "imagePath is None"),
        (document("x.png", imageHeight=0), "two sizes > 0"),
        (document("x.png", imageHeight="50"), "two sizes > 0"),
        (document("x.png", shapes=[{"points": [[1, 2]]}]), "shape 0 has no label"),
        (document("x.png", shapes=[5]), "shape 0 has no label"),
        (document("x.png", shapes=document("x.png", {"2": (1, 2)})["shapes"] * 2), "(SI1) occurs twice"),
        (document("x.png", {"2": (1, 2), "少泽": (3, 4)}), "(SI1) occurs twice"),
        (document("x.png", {"2": (1, 2, 3)}), "one pair"),
        (document("x.png", {"2": (float("nan"), 2)}), "not a coordinate"),
        (document("x.png", {"2": (1e9, 2)}), "not a coordinate"),
        (document("x.png", {"2": (True, 2)}), "not a coordinate"),
        (document("x.png", {"2": ("1", 2)}), "not a coordinate"),
        (
            document("x.png", shapes=[{"label": "2", "points": [[1, 1], [2, 2], [1, 2]], "shape_type": "polygon"}]),
            "'2' is a 'polygon'; expected a point",
        ),
        (document("x.png", shapes=[{"label": "2", "points": [[1, 1], [2, 2]]}]), "one pair"),
        (document("x.png", shapes=[{"label": "2", "points": None}]), "one pair"),
    ],
)
def test_a_wrong_file_is_refused_with_its_reason(content, words: str) -> None:
    with pytest.raises(LabelError) as error:
        parse_labelme((content if isinstance(content, str) else json.dumps(content)).encode(), POINTS)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/etc/passwd.png", "leads out"),
        ("C:\\pictures\\a.png", "leads out"),
        ("../a.png", "leads out"),
        ("x/../../a.png", "leads out"),
        ("gone.png", "no such picture"),
        ("a.bmp", "only .png, .jpg, .jpeg"),
        ("..", "leads out"),
    ],
)
def test_a_path_that_leads_nowhere_or_out(path: str, words: str, make_hand, tmp_path: Path) -> None:
    make_hand("good")
    (tmp_path / "bad.json").write_text(json.dumps(document(path)))
    assert words in reasons(tmp_path)["bad.json"]
    assert [hand.image for hand in scan(tmp_path).hands] == ["good.png"]


def test_a_link_that_leads_out_is_not_followed(make_hand, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    Image.fromarray(pixels(0)).save(tmp_path / "secret.png")
    os.symlink(tmp_path / "secret.png", root / "a.png")
    (root / "a.json").write_text(json.dumps(document("a.png")))
    assert "symbolic link" in reasons(root)["a.json"]


def test_pictures_and_labels_that_stand_alone(make_hand, tmp_path: Path) -> None:
    make_hand("both")
    Image.fromarray(pixels(5)).save(tmp_path / "alone.png")
    (tmp_path / "label.json").write_text(json.dumps(document("label.png")))
    make_hand("twice")
    make_hand("other", document("both2.png"))
    Image.fromarray(pixels(6)).save(tmp_path / "both2.png")
    (tmp_path / "again.json").write_text(json.dumps(document("twice.png")))
    (tmp_path / "synthetic.json").write_text("{}")
    (tmp_path / ".hidden.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("no label")
    found = scan(tmp_path)
    assert [hand.image for hand in found.hands] == ["both.png", "both2.png"]
    message = {problem.path: (problem.is_image, problem.reason) for problem in found.problems}
    assert set(message) == {"alone.png", "label.json", "other.png", "twice.png"}
    assert message["alone.png"][0] and "no label file" in message["alone.png"][1]
    assert not message["label.json"][0] and "no such picture" in message["label.json"][1]
    assert "again.json, twice.json" in message["twice.png"][1]


def test_numbers_and_sizes_that_do_not_fit_the_picture(make_hand, tmp_path: Path) -> None:
    make_hand("outside", document("outside.png", {**PLACES, "2": (40.5, 3)}))
    make_hand("edge", document("edge.png", {**PLACES, "2": (40, 50)}))
    make_hand("size", document("size.png", imageWidth=41))
    make_hand("untold", document("untold.png", imageWidth=None, imageHeight=None))
    message = reasons(tmp_path)
    assert "SI1 at (40.5, 3) is outside the picture of 40 x 50" in message["outside.png"]
    assert "for a picture of 41 x 50, this one is 40 x 50" in message["size.png"]
    assert [hand.image for hand in scan(tmp_path).hands] == ["edge.png", "untold.png"]


def huge_png() -> bytes:
    """A PNG whose header speaks of 100 megapixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_pictures_that_are_none_are_skipped_and_odd_ones_read(make_hand, tmp_path: Path) -> None:
    for name in ("text", "empty", "cut", "huge", "good", "animated"):
        make_hand(name)
    (tmp_path / "text.png").write_text("this is a text")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:500])
    (tmp_path / "huge.png").write_bytes(huge_png())
    frames = [Image.fromarray(pixels(k)) for k in (50, 51)]
    frames[0].save(tmp_path / "animated.png", save_all=True, append_images=frames[1:])
    make_hand("cmyk.jpg")
    Image.fromarray(pixels(52)).convert("CMYK").save(tmp_path / "cmyk.jpg")
    make_hand("deep")
    Image.fromarray(pixels(53)[..., 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    found = scan(tmp_path)
    message = {problem.path: problem.reason for problem in found.problems}
    wanted = {"text.png": "not a readable PNG", "empty.png": "0 bytes", "cut.png": "cut off", "huge.png": "megapixels"}
    wanted |= {"animated.png": "several frames"}
    assert set(message) == set(wanted)
    for name, words in wanted.items():
        assert words in message[name], message[name]
    notes = {hand.image: hand.notes for hand in found.hands}
    assert notes["good.png"] == () and "CMYK" in notes["cmyk.jpg"][0] and "16 bits" in notes["deep.png"][0]


def test_a_root_that_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="not a folder"):
        scan(tmp_path / "nothing")


def test_litter_of_operating_systems_takes_no_part(make_hand, tmp_path: Path) -> None:
    make_hand("S0001_L_back_0001")
    root = make_hand("more/S0002_L_back_0001.jpg")
    for path in [path for path in root.rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    for folder in ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "more/.Trashes"):
        (root / folder).mkdir()
        (root / folder / "thumb.png").write_bytes(b"x")
        (root / folder / "thumb.json").write_bytes(b"x")
    folder = scan(root)
    assert len(folder.hands) == 2 and folder.problems == []


def test_linked_folders_are_listed_and_nothing_goes_in_circles(make_hand, tmp_path: Path) -> None:
    make_hand("here/S0001_L_back_0001")
    root = tmp_path / "here"
    make_hand("elsewhere/S0002_L_back_0001")
    (root / "own").mkdir()
    for name, target in (("out", "../elsewhere"), ("again", "own"), ("up", "."), ("own/back", ".."), ("loop", "loop")):
        (root / name).symlink_to(target)
    for name in ("loop.png", "loop.json"):
        (root / name).symlink_to(name)
    os.mkfifo(root / "pipe.png")
    folder = scan(root)
    message = {problem.path: problem for problem in folder.problems}
    assert [hand.image for hand in folder.hands] == ["S0001_L_back_0001.png"]
    assert set(message) == {"out", "again", "up", "own/back", "loop.png", "loop.json", "pipe.png"}
    assert "outside" in message["out"].reason and message["out"].is_image
    assert all("in its own place" in message[name].reason and not message[name].is_image for name in ("again", "up"))
    assert "leads back to itself" in message["loop.png"].reason and message["loop.png"].is_image
    assert "a pipe" in message["pipe.png"].reason and not message["loop.json"].is_image


def test_labels_are_not_read_through_a_link_that_leads_out(make_hand, tmp_path: Path) -> None:
    root = make_hand("here/S0001_L_back_0001") / "here"
    label = root / "S0001_L_back_0001.json"
    label.rename(tmp_path / "secret.json")
    label.symlink_to(tmp_path / "secret.json")
    folder = scan(root)
    assert not folder.hands and "leads out of its root" in folder.problems[0].reason


def test_a_folder_that_may_not_be_read_costs_what_is_in_it(make_hand, monkeypatch: pytest.MonkeyPatch) -> None:
    make_hand("S0001_L_back_0001")
    root, scandir = make_hand("locked/S0002_L_back_0001"), os.scandir

    def guarded(place):
        if str(place).rstrip("/").endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(place)

    monkeypatch.setattr(os, "scandir", guarded)
    folder = scan(root)
    assert len(folder.hands) == 1 and [problem.path for problem in folder.problems] == ["locked/"]
    assert "Permission denied" in folder.problems[0].reason and folder.problems[0].is_image
    with pytest.raises(LayoutError, match="Permission denied"):
        scan(root / "locked")


def test_a_root_that_leads_to_itself_says_so(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(LayoutError, match="loop' is not a folder that can be read: a link that leads back to itself"):
        scan(tmp_path / "loop")
