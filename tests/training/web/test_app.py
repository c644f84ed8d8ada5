"""The HTTP interface: what it answers, whom, and what it keeps."""

import io
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import requests
from fastapi.testclient import TestClient
from PIL import Image

from acusim import acupoints
from acusim.errors import PictureError
from tests.training.web.fake_recogniser import Fake, coordinates_of, encoded, hand, noise, running
from training.data.photographs import Square
from training.inference.drawing import HEAD, MERIDIAN_COLOURS
from training.inference.face_crop import Framing
from training.inference.head_fit import HeadFit
from training.inference.model import Found
from training.web.app import create_app
from training.web.uploads import Limits

OWN = "http://127.0.0.1"


class Both:
    """Tells heads from hands by their shape."""

    def kind_of(self, pixels: np.ndarray) -> str | None:
        height, width = pixels.shape[:2]
        return None if height == width else "head" if width > height else "hand"

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    """Of a server with the head's model alone."""
    with TestClient(create_app({"head": Fake()}), base_url=OWN) as client:
        yield client


@pytest.fixture(scope="module")
def both() -> Iterator[TestClient]:
    """Of a server with both models."""
    app = create_app({"head": Fake(), "hand": hand()}, detector=Both())  # type: ignore[arg-type]
    with TestClient(app, base_url=OWN) as client:
        yield client


def _send(client: TestClient, data: bytes, name: str = "a.png", to: str = "recognise", **fields: str) -> Any:
    return client.post(f"/api/{to}", files={"file": (name, data)}, data=fields)


def test_points_of_a_picture(client: TestClient):
    pixels = noise(0)
    answer = _send(client, encoded(pixels), "光.png", threshold="0.5").json()
    assert answer["picture"] | {"sha256": "", "notes": []} == {
        "name": "光.png", "width": 90, "height": 70, "sha256": "", "notes": []
    }  # fmt: skip
    assert (answer["kind"], answer["chosen"], answer["threshold"]) == ("head", "only", 0.5)
    assert answer["model"]["made_by"] == {"run": "fake"}
    points = answer["points"]
    assert [point["name"] for point in points] == list(acupoints.NAMES)
    assert [point["code"] for point in points] == list(HEAD.codes)
    assert [point["visible"] for point in points] == [index % 2 == 1 for index in range(174)]
    assert np.array([(p["x"], p["y"]) for p in points]) == pytest.approx(coordinates_of(pixels, 174), abs=6e-4)
    assert not any(p["visible"] for p in _send(client, encoded(pixels), threshold="0.95").json()["points"])


def test_a_large_turned_jpeg_gives_points_of_the_upright_original(client: TestClient):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(np.zeros((512, 1024, 3), np.uint8), "JPEG", exif=exif)
    answer = _send(client, data).json()
    picture = answer["picture"]
    assert (picture["width"], picture["height"]) == (512, 1024) and "upright" in picture["notes"][0]
    wanted = coordinates_of(np.zeros((128, 64, 3), np.uint8), 174) * 8  # Fake wants 64 pixels: read at 1/8
    assert np.array([(p["x"], p["y"]) for p in answer["points"]]) == pytest.approx(wanted, abs=6e-4)


def test_drawn_picture(client: TestClient):
    answer = _send(client, encoded(noise(1, 1500, 1200)), to="picture", names="false")
    assert answer.headers["content-type"] == "image/jpeg" and "attachment" in answer.headers["content-disposition"]
    image = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert image.shape[1] == 1500 and image.shape[0] > 1200  # the legend
    x, y = coordinates_of(noise(1, 1500, 1200), 174)[1::2].astype(int).T
    colours = [MERIDIAN_COLOURS[meridian] for meridian in HEAD.groups[1::2]]
    near = np.abs(image[y, x].astype(int) - colours).max(1) < 60
    assert near.mean() > 0.8  # some lie under others


def test_models_and_schema(both: TestClient):
    reported = both.get("/api/models").json()
    assert [model["kind"] for model in reported["models"]] == ["head", "hand"] and reported["auto"] == "detected"
    assert [len(model["points"]) for model in reported["models"]] == [174, 7]
    assert reported["models"][1]["points"][6] == {
        **dict.fromkeys(("name", "code", "standard_code"), "LI4"),
        **{"meridian": "LI", "zh": "合谷", "pinyin": "Hegu", "side": ""},
        **{name: reported["models"][1]["points"][6][name] for name in ("location", "use")},
    }
    assert "second metacarpal" in reported["models"][1]["points"][6]["location"]
    assert reported["colours"]["LI"] == "#607f00"
    schema = both.get("/api/openapi.json").json()
    assert set(schema["paths"]) == {"/api/models", "/api/recognise", "/api/picture"}
    assert "multipart/form-data" in schema["paths"]["/api/recognise"]["post"]["requestBody"]["content"]
    assert both.get("/docs").status_code == 404


def test_answers_are_what_the_schema_says(both: TestClient):
    from training.web.schema import Answer

    for kind in ("head", "hand"):
        Answer.model_validate_json(_send(both, encoded(noise(0)), kind=kind).content, strict=True)


def test_which_model_is_asked(both: TestClient, client: TestClient):
    wide, tall, square = (encoded(noise(0, *size)) for size in ((90, 70), (70, 90), (80, 80)))
    assert [_send(both, data).json()["kind"] for data in (wide, tall)] == ["head", "hand"]
    assert _send(both, tall).json()["chosen"] == "detected"
    asked = _send(both, wide, kind="hand").json()
    assert (asked["kind"], asked["chosen"], len(asked["points"])) == ("hand", "asked", 7)
    assert asked["threshold"] == 0.3
    assert asked["hand"] == {
        "side": {"value": "left", "probability": 0.97},
        "face": {"value": "back", "probability": 0.88},
    }
    assert _send(both, wide).json()["hand"] is None
    assert [point["confidence"] for point in asked["points"]] == pytest.approx([0.1, 0.9] * 3 + [0.1])
    assert _code(_send(both, square)) == (422, "undecided")
    assert _code(_send(client, wide, kind="hand")) == (422, "no_model")


def _code(answer: Any) -> tuple[int, str]:
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "message_zh"} and "{" not in error["message"] + error["message_zh"]
    assert error["message"].isascii() or "“" in error["message"]
    assert not error["message_zh"].isascii()
    return answer.status_code, error["code"]


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"kind": "foot"}, 422, "bad_value"),
        ({"threshold": "1.5"}, 422, "bad_value"),
        ({"threshold": "nan"}, 422, "bad_value"),
        ({"threshold": "half"}, 422, "bad_value"),
        ({"quick": "yes"}, 422, "bad_value"),
        ({"colour": "red"}, 422, "bad_value"),
        ({"kind": "head" * 50}, 400, "bad_form"),
    ],
)
def test_wrong_fields(client: TestClient, fields: dict[str, str], status: int, code: str):
    assert _code(_send(client, encoded(noise(0)), **fields)) == (status, code)


def test_other_addresses_and_methods(client: TestClient):
    assert _code(client.get("/api/recognise")) == (405, "wrong_method")
    assert _code(client.options("/api/recognise")) == (405, "wrong_method")
    for path in ("/nothing", "/static/", "/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2f..%2fcli.py"):
        assert _code(client.get(path)) == (404, "not_found")


def test_the_page_needs_nothing_from_elsewhere(client: TestClient):
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    texts = [page.text] + [client.get(f"/static/{name}").text for name in ("page.js", "texts.js", "page.css")]
    for text in texts:
        assert "http:" not in text and "https:" not in text and "@import" not in text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy


def test_every_answer_has_the_headers_that_protect_it(client: TestClient):
    answers = [client.get("/"), client.get("/nothing"), client.get("/", headers={"host": "evil.example"})]
    answers.append(_send(client, encoded(noise(0))))
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in answer.headers and "set-cookie" not in answer.headers


class _Broken(Fake):
    def recognise(self, pixels: np.ndarray, quick: bool = False) -> Found:
        raise MemoryError("no such luck")


def test_a_moving_picture_is_looked_at_once():
    fake = Fake()
    with TestClient(create_app({"head": fake}), base_url=OWN) as client:
        del fake.quick[:]
        for fields in ({}, {"quick": "true"}, {"quick": "false"}):
            assert _send(client, encoded(noise(0)), **fields).status_code == 200
    assert fake.quick == [False, True, False]


def test_an_error_inside_is_reported_without_its_details():
    with TestClient(create_app({"head": _Broken()}), base_url=OWN, raise_server_exceptions=False) as client:
        answer = _send(client, encoded(noise(0)))
        assert _code(answer) == (500, "internal") and "luck" not in answer.text
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_nothing_is_written_to_a_disk(client: TestClient):
    opened: list[object] = []
    watching = threading.Event()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if watching.is_set() and event == "open" and (arguments[1] and set(arguments[1]) & set("wax+")):
            opened.append(arguments[0])
        elif watching.is_set() and event.startswith(("tempfile.", "os.mkdir", "os.rename")):
            opened.append(event)

    sys.addaudithook(hook)
    data = encoded(noise(2, 1300, 1300))
    assert len(data) > 5_000_000
    watching.set()
    try:
        assert _send(client, data).status_code == 200
        assert _send(client, data, to="picture").status_code == 200
        assert not opened
        with open("/dev/null", "w"):  # the hook sees what it should
            assert opened
    finally:
        watching.clear()


def test_many_at_once_do_not_mix():
    model = Fake(seconds=0.01)
    pictures = [noise(seed) for seed in range(20)]
    with running(create_app({"head": model})) as port, ThreadPoolExecutor(20) as pool:
        start = threading.Barrier(20)

        def ask(pixels: np.ndarray) -> np.ndarray:
            start.wait(10)
            files = {"file": ("a.png", encoded(pixels))}
            answer = requests.post(f"http://127.0.0.1:{port}/api/recognise", files=files, timeout=60)
            return np.array([(point["x"], point["y"]) for point in answer.json()["points"]])

        for pixels, xy in zip(pictures, pool.map(ask, pictures), strict=True):
            assert xy == pytest.approx(coordinates_of(pixels, 174), abs=6e-4)
    assert model.most_inside == 1


def test_a_full_house_sends_away_and_goes_on():
    model = Fake(gate=threading.Event())
    limits = Limits(waiting=3)
    with running(create_app({"head": model}, limits)) as port, ThreadPoolExecutor(4) as pool:

        def ask(seed: int) -> requests.Response:
            files = {"file": ("a.png", encoded(noise(seed)))}
            return requests.post(f"http://127.0.0.1:{port}/api/recognise", files=files, timeout=60)

        inside = [pool.submit(ask, seed) for seed in range(3)]
        assert model.entered.wait(20)
        turned_away = _until(lambda: ask(9), lambda answer: answer.status_code == 503, model)
        assert _code(turned_away) == (503, "busy") and int(turned_away.headers["retry-after"]) > 0
        model.gate.set()  # type: ignore[union-attr]
        assert [answer.result(30).status_code for answer in inside] == [200] * 3
        assert ask(4).status_code == 200


def _until(ask: Callable[[], Any], is_it: Callable[[Any], bool], model: Fake) -> Any:
    """The two that wait are in the house soon after the first is at the model."""
    from concurrent.futures import ThreadPoolExecutor as Pool
    from time import sleep

    sleep(0.3)
    with Pool(1) as pool:
        answer = pool.submit(ask)
        try:
            out = answer.result(10)
        except TimeoutError:
            model.gate.set()  # type: ignore[union-attr]
            raise
    assert is_it(out)
    return out


def _fit(ok: bool = True) -> HeadFit:
    return HeadFit(12.0, -3.0, 0.5, np.arange(522).reshape(174, 3) / 7, 1.5, ok)


def test_crop_pose_and_millimetres_are_part_of_an_answer_where_there_are_any():
    from training.web.schema import Answer

    framing = Framing("largest_face", Square(-4, 6, 50), 2)
    with TestClient(create_app({"head": Fake(framing=framing, fit=_fit())}), base_url=OWN) as client:
        answer = _send(client, encoded(np.zeros((512, 1024, 3), np.uint8), "JPEG")).json()
    Answer.model_validate(answer)
    assert answer["crop"] == {
        "what": "face", "reason": "largest_face", "faces": 2, "left": -32, "top": 48, "side": 400
    }  # fmt: skip
    assert answer["pose"] == {"yaw": 12.0, "pitch": -3.0, "roll": 0.5}
    assert answer["fit"] == {"residual_mm": 1.5, "ok": True} and answer["points"][1]["mm"] == [0.429, 0.571, 0.714]


def test_without_them_they_are_null(client: TestClient):
    answer = _send(client, encoded(noise(0))).json()
    assert answer["crop"] is answer["pose"] is answer["fit"] is answer["points"][0]["mm"] is None


@pytest.mark.parametrize("ok", [True, False])
def test_hidden_points_in_a_drawn_picture(ok: bool):
    with TestClient(create_app({"head": Fake(fit=_fit(ok))}), base_url=OWN) as client:
        shown, plain = (
            _send(client, encoded(noise(1, 300, 300)), to="picture", names="false", hidden=hidden).content
            for hidden in ("true", "false")
        )
        assert (shown != plain) == ok
        assert _send(client, encoded(noise(1)), to="picture", hidden="yes").json()["error"]["code"] == "bad_value"


def test_a_picture_without_a_face_where_one_is_required():
    with TestClient(create_app({"head": Fake(error=PictureError("no face"))}), base_url=OWN) as client:
        answer = _send(client, encoded(noise(0)))
    assert answer.status_code == 422 and answer.json()["error"]["code"] == "no_face"
