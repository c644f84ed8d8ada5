"""The shipped graphs in ComfyUI's own graph editor, in a real browser: they open whole, and they run."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from PIL import Image

from acusim.pictures import read_provenance
from engines.comfyui.workflow import load_workflow
from engines.recipe import Recipe
from tests.live.browser import Page, chromium
from tests.live.conftest import RANDOM, Live
from tests.support import ROOT

pytestmark = pytest.mark.comfyui
FILL = """(() => {
    const widgets = WIDGETS, models = MODELS, done = []
    for (const node of app.graph._nodes) {
        const values = {...widgets[node.title]}
        if (models[node.title]) values[node.widgets[0].name] = models[node.title]
        for (const [name, value] of Object.entries(values)) {
            node.widgets.find(widget => widget.name === name).value = value
            done.push(`${node.title}.${name}`)
        }
    }
    return done
})()"""

NODES = """app.graph._nodes.map(node => ({
    type: node.type, title: node.title, marked: node.has_errors === true, known: !!node.constructor.nodeData,
    absent: (node.widgets ?? []).filter(widget => Array.isArray(widget.options?.values)
        && !widget.options.values.includes(widget.value)).map(widget => widget.name),
}))"""
"""Of each node, whether the editor marks it as wrong, and its lists that do not have what is chosen."""
LOADERS = ("Checkpoint", "IC-Light", "IP-Adapter model", "CLIP Vision", "ControlNet model")
"""The nodes that name model files, which a server may have under other names."""
ENABLED = {
    (): {},
    ("ControlNet", "ControlNet model", "Depth"): {"control_strength": 0.6},
    ("IP-Adapter sample", "IP-Adapter scene"): {"reference": "both"},
}
"""Nodes that are enabled, all other optional ones bypassed -> settings of the recipe that say the same."""
ENABLE = """(() => {
    for (const node of app.graph._nodes)
        if (OPTIONAL.includes(node.title)) node.mode = TITLES.includes(node.title) ? 0 : 4
    return true
})()""".replace("OPTIONAL", json.dumps([title for titles in ENABLED for title in titles]))


@pytest.fixture(scope="module")
def page(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The editor, ready."""
    if chromium() is None:
        pytest.skip("Chromium is not installed")
    with Page(url, tmp_path_factory.mktemp("profile")) as opened:
        opened.wait_for("window.app && app.graph && document.querySelector('canvas') && app.vueAppReady")
        yield opened


def _opened(page: Page, wiring: str) -> None:
    graph = (ROOT / f"workflows/{wiring}.json").read_text()
    page.run(f"app.loadGraphData({graph}).then(() => true)")
    page.wait_for(f"app.graph._nodes.length >= {len(json.loads(graph)['nodes'])}")


@pytest.mark.parametrize("wiring", ["fc", "fbc"])
def test_the_graph_opens_whole_and_is_the_one_the_controller_posts(page: Page, wiring: str):
    _opened(page, wiring)
    nodes = page.run(NODES)
    assert not [node for node in nodes if not node["known"] and node["type"] not in ("Note", "MarkdownNote")]
    # From frontend 1.49 a node is also marked for a model file that the server does not have; that is no broken graph.
    assert not [node for node in nodes if node["marked"] and not node["absent"]]
    assert not [node for node in nodes if node["absent"] and node["title"] not in LOADERS]
    for titles, settings in ENABLED.items():
        page.run(ENABLE.replace("TITLES", json.dumps(titles)))
        posted = page.run("app.graphToPrompt().then(made => made.output)")
        wanted = load_workflow(None, wiring).adapted(Recipe(wiring=wiring, **settings)).graph
        assert {key: (node["class_type"], node["inputs"]) for key, node in posted.items()} == {
            key: (node["class_type"], node["inputs"]) for key, node in wanted.items()
        }


@pytest.mark.parametrize(
    ("wiring", "titles"), [("fc", ()), ("fbc", ()), ("fc", tuple(ENABLED)[1]), ("fbc", tuple(ENABLED)[1])]
)
def test_the_graph_runs_from_the_editor(page: Page, live: Live, wiring: str, titles: tuple[str, ...], tmp_path: Path):
    """Samples go in through the server's input folder; the picture comes out below its output folder."""
    folder = f"img_{live.size}"
    sample = sorted((live.heads / "train/image" / folder).iterdir())[0]
    files = (
        (f"image/{folder}", sample),
        (f"depth/{folder}", live.heads / "train/depth" / folder / sample.name),
        ("label/label", live.heads / "train/label/label" / f"{sample.stem}.json"),
    )
    for kind, path in files:
        answer = requests.post(
            f"{live.url}/upload/image",
            files={"image": (path.name, path.read_bytes())},
            data={"subfolder": f"acusim_test/train/{kind}", "overwrite": "true"},
            timeout=30,
        ).json()
        assert answer["name"] == path.name
    models = {"IC-Light": f"iclight_sd15_{wiring}_random.safetensors"} if live.random else {}
    if live.random:
        models |= {"Checkpoint": RANDOM["checkpoint"], "IP-Adapter model": RANDOM["ip_adapter"]}
        models |= {"CLIP Vision": RANDOM["clip_vision"], "ControlNet model": RANDOM["control_net"]}
    requests.post(f"{live.url}/free", json={"unload_models": True, "free_memory": True}, timeout=30)
    time.sleep(1)
    _opened(page, wiring)
    page.run(ENABLE.replace("TITLES", json.dumps(titles)))
    widgets = {
        "Samples": {"folder": "acusim_test", "samples": f"train/image/{folder}/{sample.name}"},
        "Save": {"root": "output", "folder": f"acusim_test_{wiring}_{tmp_path.parent.name}"},
        "Schedule": {"steps": 4},
    }
    filled = page.run(FILL.replace("WIDGETS", json.dumps(widgets)).replace("MODELS", json.dumps(models)))
    assert len(filled) == sum(map(len, widgets.values())) + len(models)
    known = set(live.get("/history?max_items=1000"))
    assert page.run("app.queuePrompt(0, 1).then(() => true)")
    deadline = time.monotonic() + 300
    while not (fresh := {k: e for k, e in live.get("/history?max_items=1000").items() if k not in known}):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    [entry] = fresh.values()
    assert entry["status"]["status_str"] == "success", entry["status"]
    [output] = [value for value in entry["outputs"].values() if "acusim" in value]
    [saved], [preview] = output["acusim"], output["images"]
    data = requests.get(f"{live.url}/view", params=preview, timeout=30).content
    picture = tmp_path / "picture.png"
    picture.write_bytes(data)
    assert saved["sample"] == sample.stem and saved["finite"]
    assert Image.open(picture).size == (live.size, live.size) and np.asarray(Image.open(picture)).std() > 1
    record = read_provenance(picture)
    assert record["sample"] == sample.stem
    assert json.loads(Image.open(picture).info["prompt"]), "dropping the picture on the editor must open its graph"
    page.wait_for("app.nodeOutputs[app.graph._nodes.find(node => node.title === 'Save').id].images.length === 1")
