"""The controller against a live ComfyUI server: whole batches, both wirings, kills, and both transports."""

import json
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from acusim.layout import scan
from acusim.pictures import read_provenance
from controller.ledger import DONE
from controller.stored import open_ledger
from tests.live.conftest import Live, difference
from tests.live.server import LocalServer

pytestmark = pytest.mark.comfyui
COUNT = 24
Pictures = Callable[[Path], dict[str, bytes]]


def _exact(out: Path, heads: Path) -> None:
    """OUT is a data set the reader accepts, with every label true and the ledger exact."""
    written, source = scan(out), scan(heads)
    assert [sample.image for sample in written.samples] == [sample.image for sample in source.samples]
    assert not written.problems
    for sample in source.samples:
        assert (out / sample.label).read_bytes() == (heads / sample.label).read_bytes()
        picture, before = Image.open(out / sample.image), Image.open(heads / sample.image)
        assert picture.size == before.size
        assert read_provenance(out / sample.image)["sample"] == str(sample.id)
    assert (out / "map.txt").read_bytes() == (heads / "map.txt").read_bytes()
    with open_ledger(out) as ledger:
        assert ledger.counts() == {"planned": 0, "running": 0, DONE: COUNT, "skipped": 0}
    assert not any((out / ".acusim/staging").glob("*/*/*")), "staged pictures were left behind"


@pytest.fixture(scope="module")
def whole(live: Live, ground: Path) -> dict[str, Path]:
    """Wiring -> output of an undisturbed run."""
    outs: dict[str, Path] = {}
    for wiring in ("fc", "fbc"):
        outs[wiring] = ground / f"whole_{wiring}"
        report = live.batch(outs[wiring], wiring)
        assert (report["created"], report["skipped"], report["planned"]) == (COUNT, [], COUNT)
        assert report["prompt_sets"] == {"bald_female": 6, "bald_male": 6, "female": 6, "male": 6}
    return outs


@pytest.mark.parametrize("wiring", ["fc", "fbc"])
def test_a_batch_over_all_prompt_sets_is_a_data_set(whole: dict[str, Path], live: Live, wiring: str):
    _exact(whole[wiring], live.heads)
    again = live.batch(whole[wiring], wiring)
    assert (again["created"], again["already"]) == (0, COUNT)
    queue = live.get("/queue")
    assert not queue["queue_running"] and not queue["queue_pending"]


@pytest.mark.parametrize("wiring", ["fc", "fbc"])
def test_what_a_picture_shares_its_prompt_with_moves_no_level_by_more_than_one(
    whole: dict[str, Path], live: Live, pictures: Pictures, tmp_path: Path, wiring: str
):
    scene = ["--scenes", _one_scene(tmp_path), "--set", "background=keep"]
    live.batch(tmp_path / "four", wiring, "--batch-size", 4, *scene)
    live.batch(tmp_path / "alone", wiring, "--batch-size", 1, *scene)
    four, alone = pictures(tmp_path / "four"), pictures(tmp_path / "alone")
    apart = [difference(four[key], alone[key]) for key in four]
    print(f"{wiring}: at most {max(apart)[0]} level, in {100 * max(share for _, share in apart):.2f} % of the pixels")
    assert max(levels for levels, _ in apart) <= 1 and max(share for _, share in apart) <= 0.005, apart


def _one_scene(folder: Path) -> Path:
    place = folder / "scenes"
    place.mkdir()
    ramp = np.linspace(20, 230, 160).astype(np.uint8)
    Image.fromarray(
        np.dstack([np.tile(ramp, (120, 1)), np.tile(ramp[::-1], (120, 1)), np.full((120, 160), 90, np.uint8)])
    ).save(place / "window.png")
    return place


@pytest.mark.parametrize("wiring", ["fc", "fbc"])
def test_both_transports_give_the_same_pictures(
    whole: dict[str, Path],
    live: Live,
    pictures: Pictures,
    tmp_path: Path,
    wiring: str,
    request: pytest.FixtureRequest,
):
    if not request.config.getoption("--comfyui-folder"):
        pytest.skip(
            "say --comfyui-folder DIR, a folder below one of the server's roots, to compare with shared folders"
        )
    report = live.batch(tmp_path / "out", wiring, "--transport", "remote", "--limit", 6)
    assert report["created"] == 6
    here, there = pictures(tmp_path / "out"), pictures(whole[wiring])
    for key, data in here.items():
        levels, share = difference(data, there[key])
        assert levels <= 1 and share <= 0.005, (key, levels, share)


def _started(live: Live, out: Path, wiring: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        live.line(out, wiring, "--batch-size", 2), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _wait_for(out: Path, count: int, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 300
    while len(list(out.glob("train/image/*/*.png"))) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _runs(live: Live, known: set[str]) -> Counter[str]:
    """How often each sample was run to its end since, by what the server remembers."""
    counts: Counter[str] = Counter()
    for prompt_id, entry in live.get("/history?max_items=1000").items():
        if prompt_id not in known and entry["status"]["status_str"] == "success":
            saved = [item for output in entry["outputs"].values() for item in output.get("acusim", [])]
            counts.update(item["sample"] for item in saved)
    return counts


def test_kill_9_of_the_controller_leaves_the_ledger_exact(
    whole: dict[str, Path], live: Live, pictures: Pictures, tmp_path: Path
):
    out, before = tmp_path / "out", set(live.get("/history?max_items=1000"))
    for count in (3, 11):
        process = _started(live, out, "fc")
        _wait_for(out, count, process)
        process.kill()
        process.communicate()
    report = live.batch(out, "fc", "--batch-size", 2)
    assert report["created"] + report["already"] == COUNT and report["already"] >= 11
    _exact(out, live.heads)
    for key, data in pictures(out).items():
        assert difference(data, pictures(whole["fc"])[key])[0] <= 1
    # Each kill may cost what was in hand: two prompts of two pictures, whose answers nobody took.
    runs = _runs(live, before)
    assert set(runs) == {str(sample.id) for sample in scan(live.heads).samples}
    assert sum(runs.values()) <= COUNT + 2 * 4, runs


def test_kill_9_of_the_server_loses_nothing(
    whole: dict[str, Path], live: Live, pictures: Pictures, tmp_path: Path, request: pytest.FixtureRequest
):
    if not request.config.getoption("--comfyui-may-kill"):
        pytest.skip("say --comfyui-may-kill to let this test kill the server and start it again")
    out, server = tmp_path / "out", LocalServer(live.url)
    process = _started(live, out, "fc")
    _wait_for(out, 5, process)
    server.kill()
    again = threading.Thread(target=server.start)
    again.start()
    stdout, stderr = process.communicate(timeout=600)
    again.join()
    assert process.returncode == 0, (stdout, stderr)
    _exact(out, live.heads)
    for key, data in pictures(out).items():
        assert difference(data, pictures(whole["fc"])[key])[0] <= 1


def test_ctrl_c_drains_and_twice_takes_our_prompts_back(live: Live, tmp_path: Path):
    out = tmp_path / "out"
    process = _started(live, out, "fc")
    _wait_for(out, 2, process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 130
    with open_ledger(out) as ledger:
        counts: dict[str, Any] = ledger.counts()
    assert counts[DONE] == len(scan(out).samples) < COUNT and counts["running"] == 0

    process = _started(live, out, "fc")
    _wait_for(out, counts[DONE] + 2, process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    deadline = time.monotonic() + 30
    while any(live.get("/queue").values()):
        assert time.monotonic() < deadline, "our prompts are still in the queue"
        time.sleep(0.1)


def test_a_picture_is_made_again_from_its_own_record(whole: dict[str, Path], live: Live, command: Callable[..., Any]):
    image = next((whole["fc"] / "train/image").glob("*/*.png"))
    done = command("--reproduce", image, "--json")
    assert done.returncode in (0, 2), done.stderr
    report = json.loads(done.stdout)
    assert report["largest_difference"] <= 1 and report["different_pixels"] <= 0.005 * live.size**2, report
