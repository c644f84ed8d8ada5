"""The page in a real browser, headless: a picture dropped on it, its points, languages, a phone's width."""

import base64
import dataclasses
import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.live.browser import Page, chromium
from tests.training.web.fake_recogniser import Fake, coordinates_of, encoded, hand, noise, running
from tests.training.web.test_app import Both
from training.data.photographs import Square
from training.inference.face_crop import Framing
from training.inference.head_fit import HeadFit
from training.web.app import create_app

pytestmark = pytest.mark.skipif(chromium() is None, reason="Chromium is not installed")
WATCH = """
window.trouble = [];
window.drops = 0;
addEventListener("drop", () => drops++, true);
addEventListener("error", (event) => trouble.push(event.message));
addEventListener("unhandledrejection", (event) => trouble.push(String(event.reason)));
addEventListener("securitypolicyviolation", (event) => trouble.push(event.violatedDirective + event.blockedURI));
"""
VISITS = itertools.count()
"""A new address for each visit, else the browser does not load the page again."""
POINTS = "document.querySelectorAll('#overlay .point').length"
ENTRIES = "document.querySelectorAll('#list button').length"
SHOWN = "document.querySelector('#error').hidden ? '' : document.querySelector('#error').textContent"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, str]]:
    """A browser, and the address of a server with two models."""
    app = create_app({"head": Fake(), "hand": hand()}, detector=Both())  # type: ignore[arg-type]
    with running(app) as port, Page("about:blank", tmp_path_factory.mktemp("chromium")) as page:
        page.call("Page.enable")
        page.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        yield page, f"http://127.0.0.1:{port}/"


@pytest.fixture
def page(browser: tuple[Page, str]) -> Iterator[Page]:
    """The page, fresh, in English, on a desk."""
    page, address = browser
    _open(page, f"{address}?{next(VISITS)}#lang=en")
    _resize(page, 1280, 860)
    yield page
    assert page.run("trouble") == []


def _open(page: Page, url: str) -> None:
    page.call("Page.navigate", url=url)
    page.wait_for(f"location.href === '{url}' && document.querySelectorAll('#kinds input').length === 3")


def _resize(page: Page, width: int, height: int, phone: bool = False) -> None:
    page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)


def _drop(page: Page, file: Path) -> None:
    """Lets a file go over the page; of what it is told about drags Chromium loses some, so more than once if needed."""
    data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
    before = page.run("drops")
    for _ in range(20):
        for kind in ("dragEnter", "dragOver", "drop"):
            page.call("Input.dispatchDragEvent", type=kind, x=300, y=300, data=data)
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            if page.run("drops") > before:
                return
            time.sleep(0.02)
    raise AssertionError("no drop arrives")


def _choose(page: Page, file: Path) -> None:
    root = page.call("DOM.getDocument")["root"]["nodeId"]
    node = page.call("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
    page.call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])


@pytest.fixture
def picture(tmp_path: Path) -> Callable[..., Path]:
    """A file with noise."""

    def make(seed: int = 0, width: int = 90, height: int = 70, name: str = "a.png", **how: Any) -> Path:
        (tmp_path / name).write_bytes(encoded(noise(seed, width, height), name[-3:].replace("jpg", "jpeg"), **how))
        return tmp_path / name

    return make


def test_a_dropped_picture_shows_its_points_where_they_are(page: Page, picture: Callable[..., Path]):
    _drop(page, picture())
    page.wait_for(f"{POINTS} === 87 && {ENTRIES} === 87")
    assert page.run("document.querySelector('#count').textContent") == "87 of 174 points visible"
    assert "Detected: Head · 90 × 70 · model fake" in page.run("document.querySelector('#facts').textContent")
    found = page.run(
        """(() => {
          const box = document.querySelector('#image').getBoundingClientRect();
          const dot = document.querySelector('[data-index="7"] circle:last-child').getBoundingClientRect();
          const [x, y] = [dot.x + dot.width / 2, dot.y + dot.height / 2];
          return [(x - box.x) / box.width, (y - box.y) / box.height, dot.width];
        })()"""
    )
    x, y = coordinates_of(noise(0), 174)[7]
    assert found[:2] == pytest.approx([x / 90, y / 70], abs=0.002) and 8 < found[2] < 16


def test_which_hand_it_is_stands_above_the_list(page: Page, picture: Callable[..., Path]):
    _drop(page, picture(0, 70, 90))
    facts = "document.querySelector('#facts').textContent"
    page.wait_for(f"{facts}.startsWith('Detected: Hand · left hand 97 %, its back 88 % · 70 × 90')")
    page.run("document.querySelector('#language').click()")
    page.wait_for(f"{facts}.startsWith('检测为手部 · 左手 97 %，手背 88 % · 70 × 90')")


def test_list_and_picture_point_at_each_other(page: Page, picture: Callable[..., Path]):
    _drop(page, picture())
    page.wait_for(f"{POINTS} === 87")
    page.run("document.querySelector('#list [data-index=\"9\"]').click()")
    assert page.run("document.querySelectorAll('[data-index=\"9\"] circle').length") == 3
    index, x, y = page.run(
        """[...document.querySelectorAll('#overlay .point')].map((point) => {
          const box = point.lastChild.getBoundingClientRect();
          return [point.dataset.index, box.x + box.width / 2, box.y + box.height / 2];
        }).findLast(([index, x, y]) => index > 20
          && document.elementFromPoint(x, y).closest(`g[data-index="${index}"]`))"""
    )
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    page.wait_for(f"document.querySelector('#list .active').dataset.index === '{index}'")


def test_filters(page: Page, picture: Callable[..., Path]):
    _drop(page, picture())
    page.wait_for(f"{POINTS} === 87")
    page.run("document.querySelector('#meridians button').click()")  # LI has 10 points, 5 of them visible
    assert (page.run(POINTS), page.run(ENTRIES)) == (82, 82)
    page.run("document.querySelector('#all').click()")
    assert (page.run(POINTS), page.run(ENTRIES)) == (82, 164)
    page.run("const s = document.querySelector('#slider'); s.value = 0.05; s.dispatchEvent(new Event('input'))")
    assert page.run(POINTS) == 164
    assert page.run("document.querySelectorAll('#overlay text').length") > 3
    page.run("document.querySelector('#names').click()")
    assert page.run("document.querySelectorAll('#overlay text').length") == 0


def test_languages(page: Page, picture: Callable[..., Path], browser: tuple[Page, str]):
    _drop(page, picture())
    page.wait_for(f"{POINTS} === 87")
    page.run("document.querySelector('#language').click()")
    assert page.run("[document.documentElement.lang, document.title, location.hash]") == [
        "zh-CN",
        "穴位识别",
        "#lang=zh",
    ]
    assert page.run("document.querySelector('#list [data-index=\"11\"]').innerText.split(/\\n/)[0]") == "四白 ST2"
    _open(page, f"{browser[1]}?{next(VISITS)}")
    assert page.run("document.title") == "穴位识别"  # the browser remembers
    page.run("localStorage.clear()")


def test_a_phone(page: Page, picture: Callable[..., Path]):
    _resize(page, 390, 844, phone=True)
    _choose(page, picture(1, 70, 90))
    page.wait_for(f"{ENTRIES} === 3")  # three of the hand's seven are visible
    assert page.run("document.documentElement.scrollWidth <= 390")
    assert page.run("document.querySelector('#found').getBoundingClientRect().width") > 340
    heights = page.run("[...document.querySelectorAll('#list button, main .bar > button')].map((b) => b.clientHeight)")
    assert min(heights) >= 42
    assert "heatmap" in page.run("document.querySelector('#evidence').textContent")


def test_a_turned_photograph_is_upright(page: Page, picture: Callable[..., Path]):
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, width in (("a.jpg", 160), ("a.png", 200)):
        _choose(page, picture(0, width, 120, name, exif=exif))
        page.wait_for(f"/120 × {width}/.test(document.querySelector('#facts').textContent)")
        assert page.run("(({naturalWidth, naturalHeight}) => [naturalWidth, naturalHeight])(image)") == [120, width]


def test_failures_are_reported_in_place_and_in_both_languages(page: Page, tmp_path: Path, picture: Callable[..., Path]):
    (tmp_path / "text.png").write_text("no picture")
    _drop(page, tmp_path / "text.png")
    assert "not a PNG or JPEG" in page.wait_for(SHOWN)
    page.run("document.querySelector('#language').click()")
    assert "不是 PNG 或 JPEG" in page.run(SHOWN)
    page.run("document.querySelector('#language').click()")
    _drop(page, picture(0, 80, 80))
    page.wait_for(f"/Neither a face nor a hand/.test({SHOWN})")
    page.run("document.querySelector('[value=hand]').click()")  # goes on with the same picture
    page.wait_for(f"{ENTRIES} === 3")
    assert page.run(SHOWN) == ""
    page.run("document.querySelector('#camera').click()")
    page.wait_for(f"/camera/.test({SHOWN})")


@pytest.mark.parametrize(
    ("answer", "english", "chinese"),
    [
        ("Promise.reject(new TypeError('Failed to fetch'))", "cannot be reached", "无法连接服务器"),
        ("new Response('<h1>Too Large</h1>', {status: 413})", "refused the picture as too large", "图片过大"),
        ("new Response('<h1>Login</h1>', {status: 401})", "requires a login", "要求登录"),
        ("new Response('', {status: 403})", "requires a login", "要求登录"),
        (
            "new Response('<h1>Bad Gateway</h1>', {status: 502})",
            "timed out (status 502)",
            "等待超时（状态码 502）",
        ),
        ("new Response('{}', {status: 504})", "timed out (status 504)", "等待超时（状态码 504）"),
        ("new Response('<h1>Router</h1>')", "not from this page's server (status 200)", "并非来自本页面的服务器"),
        ("new Response('{}')", "not from this page's server (status 200)", "并非来自本页面的服务器"),
        ("new Response('null', {status: 500})", "not from this page's server (status 500)", "（状态码 500）"),
        ("new Response(new ReadableStream({start: (c) => c.error('cut')}))", "cannot be reached", "无法连接服务器"),
    ],
)
def test_what_others_answer_is_reported_in_both_languages(
    page: Page, picture: Callable[..., Path], answer: str, english: str, chinese: str
):
    page.run(f"void (window.fetch = async () => {answer})")
    _choose(page, picture())
    assert english in page.wait_for(SHOWN)
    page.run("document.querySelector('#language').click()")
    assert chinese in page.run(SHOWN)


def test_files_that_are_not_sent(page: Page, tmp_path: Path, picture: Callable[..., Path]):
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate((32 << 20) + 1)
    _choose(page, tmp_path / "large.png")
    assert "larger than 32 MiB" in page.wait_for(SHOWN)
    page.run("document.querySelector('#language').click()")
    assert "超过 32 MiB" in page.run(SHOWN)
    _choose(page, picture())
    page.wait_for(f"{ENTRIES} === 87")
    picture().unlink()
    page.run("document.querySelector('[value=hand]').click()")  # the same picture again, which is gone
    assert "浏览器无法读取此文件" in page.wait_for(SHOWN)
    page.run("document.querySelector('#language').click()")
    assert "The browser cannot read this file" in page.run(SHOWN)


def test_a_server_that_comes_late_is_met_with_the_first_picture(
    page: Page, picture: Callable[..., Path], browser: tuple[Page, str]
):
    late = "const real = fetch; fetch = () => new Response('', {status: 502}); window.comes = () => (fetch = real)"
    script = page.call("Page.addScriptToEvaluateOnNewDocument", source=late)
    try:
        _open(page, f"{browser[1]}?{next(VISITS)}#lang=zh")
        assert "状态码 502" in page.wait_for(SHOWN)
    finally:
        page.call("Page.removeScriptToEvaluateOnNewDocument", identifier=script["identifier"])
    page.run("void comes()")
    _choose(page, picture())
    page.wait_for(f"{ENTRIES} === 87")
    assert page.run(SHOWN) == ""


@pytest.mark.parametrize(
    ("error", "english", "chinese"),
    [
        ("new DOMException('', 'NotAllowedError')", "no permission to use the camera", "未获得摄像头权限"),
        ("new DOMException('', 'SecurityError')", "no permission to use the camera", "未获得摄像头权限"),
        ("new DOMException('', 'NotFoundError')", "No camera", "未找到摄像头"),
        ("new DOMException('', 'OverconstrainedError')", "No camera", "未找到摄像头"),
        ("new DOMException('', 'NotReadableError')", "another program may be using it", "被其他程序占用"),
        ("new DOMException('', 'AbortError')", "another program may be using it", "被其他程序占用"),
        ("new TypeError('what?')", "another program may be using it", "被其他程序占用"),
    ],
)
def test_what_cameras_say_is_reported_in_both_languages(page: Page, error: str, english: str, chinese: str):
    page.run(f"void (navigator.mediaDevices.getUserMedia = async () => {{ throw {error} }})")
    page.run("document.querySelector('#camera').click()")
    assert english in page.wait_for(SHOWN)
    page.run("document.querySelector('#language').click()")
    assert chinese in page.run(SHOWN)


def test_a_camera_that_sends_no_picture(page: Page):
    page.run("void (navigator.mediaDevices.getUserMedia = async () => new MediaStream())")
    page.run("document.querySelector('#camera').click()")
    page.wait_for("document.querySelector('#viewfinder').open")
    page.run("document.querySelector('#shoot').click()")
    assert "another program may be using it" in page.wait_for(SHOWN)
    assert page.run("document.querySelector('#viewfinder').open") is False


CAMERA = """
(() => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [1280, 960];
  const to = canvas.getContext("2d");
  window.film = setInterval(() => {
    to.fillStyle = "#fff";
    to.fillRect(0, 0, 1280, 960);
  }, 30);
  navigator.mediaDevices.getUserMedia = async () => canvas.captureStream(30);
  const send = WebSocket.prototype.send;
  window.sent = 0;
  window.open_ = 0;
  window.most = 0;
  WebSocket.prototype.send = function (frame) {
    if (window.lost) return this.close();
    sent += 1;
    most = Math.max(most, ++open_);
    this.onmessage_ ??= this.addEventListener("message", () => (open_ -= 1)) ?? true;
    this.onclose_ ??= this.addEventListener("close", () => (open_ = 0)) ?? true;
    send.call(this, frame);
  };
  const encode = HTMLCanvasElement.prototype.toBlob;
  HTMLCanvasElement.prototype.toBlob = function (done, ...how) {
    encode.call(this, (blob) => setTimeout(done, this.width > 640 ? 0 : 150, blob), ...how);
  };
})()
"""
"""A camera that shows a white wall, a connection that may be lost, a browser that is slow at encoding live frames, and
a count of what goes to the server."""


def test_acupoints_over_the_moving_picture(page: Page):
    page.run(f"void {CAMERA}")
    page.run("document.querySelector('#camera').click()")
    page.wait_for("document.querySelectorAll('#live .point').length === 87")
    page.wait_for("sent > 4 && /^[0-9]+ pictures a second$/.test(document.querySelector('#liveFacts').textContent)")
    assert page.run("most") == 1  # the next frame waits for the answer
    assert page.run("document.querySelector('#live').getAttribute('viewBox')") == "0 0 640 480"
    page.run("void (window.lost = true)")
    page.wait_for("/live connection was lost/.test(document.querySelector('#liveFacts').textContent)")
    assert page.run("document.querySelectorAll('#live .point').length") == 0
    page.run("void (window.lost = false)")
    page.wait_for("document.querySelectorAll('#live .point').length === 87")
    page.run("document.querySelector('#liveSwitch').click()")
    page.wait_for("document.querySelectorAll('#live .point').length === 0 && open_ === 0")
    sent = page.run("sent")
    page.run("new Promise((resolve) => setTimeout(resolve, 400))")
    assert page.run("sent") == sent
    page.run("document.querySelector('#liveSwitch').click()")
    page.wait_for("document.querySelectorAll('#live .point').length === 87")
    page.run("document.querySelector('#shoot').click()")  # the picture itself, in full
    page.wait_for(f"{ENTRIES} === 87")
    assert "1280 × 960" in page.run("document.querySelector('#facts').textContent")
    page.wait_for("open_ === 0")
    sent = page.run("sent")
    page.run("new Promise((resolve) => setTimeout(resolve, 400))")
    assert page.run("sent") == sent
    page.run("clearInterval(film)")


def test_the_viewfinder_says_what_it_does_not_find(page: Page):
    def said(code: str) -> str:
        return page.run(f"import('./static/texts.js').then((texts) => texts.{code})")

    assert said("liveFacts(17.6, {face: null})") == "18 pictures a second"
    assert said("liveFacts(17.6, {face: false})").endswith(" · No face found: these points may be anywhere")
    assert said("liveTrouble({code: 'undecided', message: 'a', message_zh: 'b'})").endswith("Point the camera at one.")
    assert said("liveTrouble({code: 'busy', message: 'a', message_zh: 'b'})") == "a"


def test_saving(page: Page, picture: Callable[..., Path], tmp_path: Path):
    page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    _drop(page, picture(0, 900, 700))
    page.wait_for(f"{POINTS} === 87")
    for button, name in (("saveJson", "a.points.json"), ("savePicture", "a.points.jpg")):
        page.run(f"document.querySelector('#{button}').click()")
        deadline = time.monotonic() + 20
        while not (tmp_path / name).exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
    document = json.loads((tmp_path / "a.points.json").read_text())
    assert len(document["points"]) == 174 and document["picture"]["width"] == 900
    saved = Image.open(tmp_path / "a.points.jpg")
    assert saved.width == 900 and saved.height > 700


def test_the_last_picture_wins(page: Page):
    files = [base64.b64encode(encoded(noise(seed, 90 + seed, 70))).decode() for seed in range(4)]
    page.run(
        f"""for (const text of {json.dumps(files)}) {{
          const data = new DataTransfer();
          data.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt())], "a.png"));
          dispatchEvent(new DragEvent("drop", {{ dataTransfer: data, cancelable: true }}));
        }}"""
    )
    page.wait_for("/93 × 70/.test(document.querySelector('#facts').textContent)")
    time.sleep(0.3)
    assert page.run("[image.naturalWidth, stage.ariaBusy, facts.textContent.includes('93')]") == [93, "false", True]


def test_by_keyboard(page: Page, picture: Callable[..., Path]):
    _drop(page, picture())
    page.wait_for(f"{POINTS} === 87")
    page.run("document.querySelector('#list button').focus()")
    for key in ("ArrowDown", "ArrowDown", "ArrowUp"):
        for kind in ("keyDown", "keyUp"):
            page.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)
    page.run("document.activeElement.click()")
    assert page.run("document.querySelector('#list .active').dataset.index") == "3"
    unnamed = page.run(
        """[...document.querySelectorAll('button, input:not([hidden]), [role]')].filter((part) => part.offsetParent
          && !(part.textContent.trim() || part.ariaLabel || part.labels?.length || part.title))
          .map((part) => part.outerHTML)"""
    )
    assert unnamed == []


def test_what_the_model_saw_the_pose_and_hidden_points(
    page: Page, picture: Callable[..., Path], fitted: tuple[Fake, str]
):
    model, address = fitted
    _open(page, f"{address}?{next(VISITS)}#lang=en")
    _drop(page, picture())
    page.wait_for(f"{POINTS} === 87")
    facts = page.run("document.querySelector('#facts').textContent")
    assert "seen: the head around the largest face · yaw 12° pitch -3° roll 1° · model fake" in facts
    page.run("document.querySelector('#hidden').click()")
    page.wait_for(f"{POINTS} === 174")
    hollow = "[...document.querySelectorAll('.point')].filter((dot) => dot.lastChild.getAttribute('fill') === 'none')"
    assert page.run(f"{hollow}.length") == 87
    model.fit = dataclasses.replace(model.fit, ok=False) if model.fit else None
    _drop(page, picture(1))
    page.wait_for(f"{POINTS} === 87 && document.querySelector('#hiddenLabel').hidden")
    assert "yaw" not in page.run("document.querySelector('#facts').textContent")


@pytest.fixture
def fitted() -> Iterator[tuple[Fake, str]]:
    """A model that fits a head, and the address of its server."""
    fit = HeadFit(12.2, -3.4, 1.0, np.zeros((174, 3)), 1.5, True)
    model = Fake(framing=Framing("largest_face", Square(0, 0, 60), 2), fit=fit)
    with running(create_app({"head": model})) as port:  # type: ignore[dict-item]
        yield model, f"http://127.0.0.1:{port}/"
