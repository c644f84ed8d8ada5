"""The command against a fake ComfyUI server: batch, texts and seeds, signals, resuming, reproducing."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acusim.layout import scan
from acusim.pictures import read_provenance, read_rgb
from acusim.sample_id import SampleId
from acusim.seeds import derive_seed
from tests.engines.comfyui.fake_server import FakeServer
from tests.keypoint_files import SIZE, add_labelme
from tests.support import ROOT

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def root(make_dataset: Callable[..., Path]) -> Path:
    """Eight samples over all four prompt sets."""
    return make_dataset()


@pytest.fixture
def server(tmp_path: Path, root: Path) -> Iterator[FakeServer]:
    """A server that sees everything below the test's folder."""
    made = FakeServer(tmp_path / "server", {"all": tmp_path})
    yield made
    made.kill()


def _line(server: FakeServer, root: Path, out: Path, *more: object) -> list[str]:
    return ["--batch", "--dataset", str(root), "--output", str(out), "--server", server.url, *map(str, more)]


def test_a_batch_is_a_data_set_and_says_what_made_it(server: FakeServer, root: Path, tmp_path: Path, command: Run):
    out = tmp_path / "out"
    report = json.loads(command(*_line(server, root, out), "--json", check=0).stdout)
    assert report["created"] == 8 and report["prompt_sets"] == {
        "bald_female": 2,
        "bald_male": 2,
        "female": 2,
        "male": 2,
    }
    assert [s.image for s in scan(out).samples] == [s.image for s in scan(root).samples]
    for sample in scan(root).samples:
        # The fake server inverts what it is given.
        assert (read_rgb(out / sample.image).pixels == 255 - read_rgb(root / sample.image).pixels).all()
        assert (out / sample.label).read_bytes() == (root / sample.label).read_bytes()
        record = read_provenance(out / sample.image)
        assert record["seed"] == derive_seed(0, sample.id, 0, 0)
        assert record["facts"] == {"server": "ComfyUI 0.3.64", "workflow": record["facts"]["workflow"]}
        [prompt] = [p for p in server.posts if sample.image in p.samples]
        assert str(record["seed"]) in prompt.inputs("AcuSimNoise")["seeds"].split(",")
        texts = {node["inputs"]["text"] for node in prompt.graph.values() if node["class_type"] == "CLIPTextEncode"}
        assert texts == {record["positive"], record["negative"]}
    shipped = json.loads((ROOT / "workflows/api/fc.json").read_text())
    assert json.loads((out / "workflow.json").read_text()) == shipped
    assert not list((out / ".acusim").glob("staging/**/*.png"))
    again = json.loads(command(*_line(server, root, out), "--json", check=0).stdout)
    assert (again["created"], again["already"], len(server.posts)) == (0, 8, len(server.posts))


def test_a_labelme_folder_travels_as_cut_out_pngs(server: FakeServer, tmp_path: Path, command: Run):
    hands, out = tmp_path / "hands", tmp_path / "out"
    for seed, name in enumerate(("S1.png", "more/S2.jpg")):
        add_labelme(hands, name, seed)
    report = json.loads(command(*_line(server, hands, out), "--json", check=0).stdout)
    assert report["created"] == 2 and report["prompt_sets"] == {"any": 2}
    before, after = (read_rgb(root / "S1.png").pixels for root in (hands, out))
    on = np.zeros(SIZE[::-1], bool)
    on[25:60, 35:65] = True
    assert (after[on] == 255 - before[on]).all()  # the fake server inverts what it is given
    assert (after[:5, :5] == 255).all()  # the background was cut out: transparent, over black
    assert (out / "S1.json").read_bytes() == (hands / "S1.json").read_bytes()
    names = [name for prompt in server.posts for name in prompt.samples]
    assert sorted({name.split("/")[:3][1] for name in names}) == ["image"] and all(n.endswith(".png") for n in names)
    assert all(SampleId.parse(Path(name).stem) for name in names)


def test_a_bad_sample_is_set_aside_and_costs_no_other(server: FakeServer, root: Path, tmp_path: Path, command: Run):
    image = root / scan(root).samples[0].image
    image.write_bytes(image.read_bytes()[:300])
    report = json.loads(command(*_line(server, root, tmp_path / "out"), "--json", check=2).stdout)
    assert report["created"] == 7 and "damaged" in report["skipped"][0][1]


def _manifest(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("lost", [("ledger.sqlite",), ("ledger.sqlite", "settings.json", "../manifest.jsonl")])
def test_a_lost_ledger_is_rebuilt_without_asking_the_server_for_a_picture(
    server: FakeServer, root: Path, tmp_path: Path, command: Run, tree: Callable[[Path], dict[str, str]], lost: tuple
):
    out = tmp_path / "out"
    command(*_line(server, root, out), check=0)
    before, posts, manifest = tree(out), len(server.posts), _manifest(out)
    for name in lost:
        (out / ".acusim" / name).unlink()
    assert "--repair" in command(*_line(server, root, out), check=1).stderr
    line = ["--repair", "--output", str(out), "--json"]
    if "settings.json" in lost:
        line += ["--dataset", str(root), "--server", server.url]
        mine = tmp_path / "mine.json"
        graph = json.loads((ROOT / "workflows/api/fc.json").read_text())
        graph["9"]["inputs"]["end_at"] = 0.8
        mine.write_text(json.dumps(graph))
        assert "workflow is " in command(*line, "--workflow", mine, check=1).stderr
    report = json.loads(command(*line, check=0).stdout)
    assert report["created"] == 0 and sum(report["rebuilt"].values()) == 8
    after = tree(out)
    if "../manifest.jsonl" in lost:  # which server made a picture stands there alone
        assert [line | {"server": server.url} for line in _manifest(out)] == manifest
        assert before.pop("manifest.jsonl") != after.pop("manifest.jsonl")
    assert after == before and len(server.posts) == posts


def test_another_workflow_is_refused_for_the_same_output(server: FakeServer, root: Path, tmp_path: Path, command: Run):
    out, mine = tmp_path / "out", tmp_path / "mine.json"
    graph = json.loads((ROOT / "workflows/api/fc.json").read_text())
    graph["9"]["inputs"]["end_at"] = 0.8
    mine.write_text(json.dumps(graph))
    command(*_line(server, root, out), check=0)
    assert "workflow:" in command(*_line(server, root, out, "--workflow", mine), check=1).stderr
    command(*_line(server, root, tmp_path / "other", "--workflow", mine), check=0)
    assert json.loads((tmp_path / "other/workflow.json").read_text()) == graph


def test_check_is_a_table_and_queues_nothing(server: FakeServer, root: Path, tmp_path: Path, command: Run):
    arguments = ("--check", "--dataset", root, "--output", tmp_path / "out", "--server", server.url)
    table = command(*arguments, check=0).stdout
    assert "shared folders" in table and "8 images to create" in table
    report = json.loads(command(*arguments, "--set", "wiring=fbc", "--json", check=0).stdout)
    assert report["ok"] and any("12 input channels (fbc)" in check["found"] for check in report["checks"])
    missing = json.loads(command(*arguments, "--set", "checkpoint=no.safetensors", "--json", check=3).stdout)
    [line] = [check for check in missing["checks"] if check["ok"] is False]
    assert "no.safetensors" in line["found"] and "models/checkpoints" in line["fix"]
    assert not server.posts and not (tmp_path / "out").exists()


def test_a_picture_is_made_again_while_a_batch_may_be_at_work(
    server: FakeServer, root: Path, tmp_path: Path, command: Run
):
    out = tmp_path / "out"
    command(*_line(server, root, out), check=0)
    busy = out / ".acusim/staging/run-of-somebody/file"
    busy.parent.mkdir(parents=True)
    busy.write_text("staged")
    image = out / scan(root).samples[0].image
    assert json.loads(command("--reproduce", image, "--json", check=0).stdout)["same"]
    assert busy.read_text() == "staged"


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c(server: FakeServer, root: Path, tmp_path: Path, command: Run, times: int):
    """Once: what is in hand is finished. Twice: our prompts are taken back."""
    out, server.gate = tmp_path / "out", threading.Event()
    line = [sys.executable, str(ROOT / "controller/controller.py"), *_line(server, root, out, "--batch-size", 1)]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    _wait_for(lambda: server.running and server.pending)
    for number in range(times):
        process.send_signal(signal.SIGINT)
        if not number:
            assert "once more to stop now" in _read_until(process, "once more")
    if times == 1:
        server.gate.set()
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    server.gate.set()
    _wait_for(lambda: not server.running and not server.pending)
    made = len(scan(out).samples) if (out / "train").exists() else 0
    assert (made == 0) if times == 2 else (0 < made < 8)
    status: dict[str, Any] = json.loads(command("--status", "--output", out, "--json", check=0).stdout)
    assert status["counts"] == {"planned": 8 - made, "running": 0, "done": made, "skipped": 0}
    server.gate = None
    assert json.loads(command(*_line(server, root, out), "--json", check=0).stdout)["created"] == 8 - made
    assert np.all([(out / sample.image).is_file() for sample in scan(root).samples])


def _read_until(process: "subprocess.Popen[str]", word: str) -> str:
    assert process.stderr
    for line in process.stderr:
        if word in line:
            return line
    raise AssertionError(f"{word!r} was never said")


def _wait_for(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)
