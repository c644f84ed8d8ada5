"""The gate: what is accepted, what is tried again and how, and that no bad picture gets through."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from acusim.errors import AcuSimError, ConfigError, PictureError
from acusim.float_images import from_levels, to_levels
from acusim.layout import scan
from acusim.light_transfer import transferred_light
from acusim.pictures import read_provenance, read_rgb
from acusim.point_mask import read_point_mask
from acusim.seeds import derive_seed
from controller.cli import main
from controller.gate import attempts
from controller.gate_settings import GateSettings
from engines.base import Engine, Request, Result
from engines.recipe import Recipe
from evaluation.warps import Warp, shifted
from synthetic.generate import generate
from synthetic.settings import HeadSettings

Bad = Callable[[Request], NDArray[np.uint8] | AcuSimError | None]
NOTHING: dict[str, Any] = {"light_transfer": False, "softer": 0, "fallback": "none"}
FACE = (100.0, 100.0)
"""Acupoints lie here in both views; elsewhere hair may bulge without moving one, and the gate lets it."""


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two rendered persons from the front and from one side, 256 pixels, with depth."""
    root = tmp_path_factory.mktemp("gate") / "data"
    generate(HeadSettings(out=root, identities=2, views="1,10", size=256))
    return root


class Painter(Engine):
    """Makes a sample darker and warmer, which moves nothing; or what it is told to."""

    name = "embedded"
    processes = False

    def __init__(self, bad: Bad):
        super().__init__(Recipe(engine="embedded"))
        self.batch_size, self.concurrency, self.bad = 3, 2, bad
        self.asked: list[Request] = []

    def open(self) -> None:
        pass

    def augment(self, batch: Sequence[Request]) -> list[Result | AcuSimError]:
        self.asked += batch
        found = [self.bad(request) for request in batch]
        return [
            answer if isinstance(answer, AcuSimError) else Result(relit(request.pixels) if answer is None else answer)
            for request, answer in zip(batch, found, strict=True)
        ]


def relit(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return (pixels * np.array([0.9, 0.8, 0.7])).astype(np.uint8)


def warped(request: Request) -> NDArray[np.uint8]:
    """A lump of 10 px beside the eye: no label near it is true any more."""
    return Warp(FACE, 60, 8, 6).apply(relit(request.pixels))


@pytest.fixture
def batch(
    heads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, dict[str, Any], list[dict[str, Any]], Painter]]]:
    """Runs a gated batch with an engine that is told what to spoil: exit code, summary, manifest, engine."""

    def run(bad: Bad, gate: str | None = None, out: str = "out") -> Any:
        engine = Painter(bad)
        monkeypatch.setattr("controller.batch.make_engine", lambda *_: engine)
        line = ["--batch", "--engine", "embedded", "--dataset", str(heads), "--output", str(tmp_path / out), "--gate"]
        if gate is not None:
            (tmp_path / "gate.toml").write_text(gate)
            line.append(str(tmp_path / "gate.toml"))
        code = main([*line, "--json", "--quiet"])
        lines = (tmp_path / out / "manifest.jsonl").read_text().splitlines()
        return code, json.loads(capsys.readouterr().out), [json.loads(each) for each in lines], engine

    yield run


def test_what_is_tried_in_which_order():
    recipe = Recipe(engine="embedded", denoise=0.5, ip_adapter_weight=0.4)
    found = attempts(GateSettings(), recipe)
    ways = ["planned", "re-rolled", "re-rolled", "light transferred", "softened", "softened", "fallen back"]
    assert [attempt.way for attempt in found] == ways
    assert [attempt.recipe.denoise for attempt in found[4:6]] == [0.375, 0.28125]
    assert [attempt.recipe.ip_adapter_weight for attempt in found[4:6]] == [0.2, 0.1]
    assert found[3].recipe == recipe.changed(light_transfer=1)
    only_light = attempts(GateSettings(rerolls=0, softer=0), recipe.changed(light_transfer=1))
    assert [attempt.way for attempt in only_light] == ["planned", "fallen back"], "all of them are"
    assert found[-1].recipe.engine == "relight" and found[0].recipe is recipe
    assert [a.way for a in attempts(GateSettings(**NOTHING, rerolls=0), recipe)] == ["planned"]
    relight = attempts(GateSettings(rerolls=1), Recipe(engine="relight"))
    assert [attempt.way for attempt in relight] == ["planned", "re-rolled"], "there is nothing exacter to fall back to"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rerols = 3", "'rerols' is not a gate setting; there are rerolls, light_transfer, softer"),
        ("rerolls = 21", "rerolls = 21 is outside 0..20"),
        ("rerolls = 1.5", "rerolls = 1.5 is not of type int"),
        ("softer = true", "softer = True is not of type int"),
        ("denoise_factor = nan", "denoise_factor = nan is outside 0.1..1"),
        ("fallback = 'comfyui'", "fallback = 'comfyui' is not one of relight, none"),
        ("thresholds = 3", "thresholds = 3 is not a table"),
        ("[thresholds]\nfund = 3", "'fund' is not a threshold"),
        ("rerolls =", "cannot be read"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, text: str, message: str):
    path = tmp_path / "gate.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"gate\.toml") as caught:
        GateSettings.from_toml(path)
    assert message in str(caught.value)


def test_settings_survive_the_ledger():
    settings = GateSettings(rerolls=5, thresholds={"tolerance_mm": 3})
    assert GateSettings(**json.loads(json.dumps(settings.as_dict()))) == settings


def test_good_pictures_pass_at_once(batch: Any, tmp_path: Path):
    code, summary, manifest, engine = batch(lambda request: None)
    assert code == 0 and len(engine.asked) == summary["created"] == 4
    assert summary["gate"] == {"planned": 4, "re-rolled": 0, "light transferred": 0, "softened": 0} | {
        "fallen back": 0,
        "skipped": 0,
    }
    for line in manifest:
        [attempt] = line["attempts"]
        assert attempt["accept"] and attempt["reason"] == "" and attempt["structure"] > 0.9 and attempt["visible"] > 0
        assert attempt["seed"] == line["seed"] and line["way"] == "planned" and line["attempt"] == 0
        mask = read_point_mask(tmp_path / "out" / line["mask"])
        assert mask.image == line["image"] and mask.image_sha256 == line["sha256"] and mask.accept
        assert (mask.trusted.sum(), mask.listed.sum()) == (attempt["trusted"], attempt["visible"])
    assert not scan(tmp_path / "out").problems
    assert main(["--verify", "--output", str(tmp_path / "out")]) == 0
    (tmp_path / "out" / manifest[0]["mask"]).unlink()
    assert main(["--verify", "--output", str(tmp_path / "out")]) == 2


def test_a_bad_picture_is_made_again_with_another_seed(batch: Any, heads: Path, tmp_path: Path):
    first: dict[str, int] = {}

    def bad(request: Request) -> NDArray[np.uint8] | None:
        return warped(request) if first.setdefault(str(request.sample), request.seed) == request.seed else None

    code, summary, manifest, engine = batch(bad)
    assert code == 0 and summary["gate"]["re-rolled"] == 4 and len(engine.asked) == 8
    for line in manifest:
        failed, passed = line["attempts"]
        assert not failed["accept"] and failed["reason"] and failed["found_px"] > 3
        assert passed["accept"] and passed["seed"] == line["seed"] != failed["seed"] and line["attempt"] == 1
        stored = tmp_path / "out" / line["image"]
        assert np.array_equal(read_rgb(stored).pixels, relit(read_rgb(heads / line["source"]).pixels))
        assert read_provenance(stored)["seed"] == line["seed"]
    again, summary, *_ = batch(bad)
    assert again == 0 and summary["created"] == 0 and summary["already"] == 4


def test_then_its_light_alone_is_taken(batch: Any, tmp_path: Path):
    def bad(request: Request) -> NDArray[np.uint8]:
        amount = request.changes.get("light_transfer", 0.0)
        original, image = (from_levels(pixels) for pixels in (request.pixels, warped(request)))
        return to_levels(transferred_light(image, original, (request.pixels.max(2) > 0).astype(np.float32), amount))

    code, summary, manifest, engine = batch(bad, "rerolls = 0")
    assert code == 0 and len(engine.asked) == 8 and summary["gate"]["light transferred"] == 4
    for line in manifest:
        assert [(each["way"], each.get("light_transfer")) for each in line["attempts"]] == [
            ("planned", None),
            ("light transferred", 1),
        ]
        assert read_provenance(tmp_path / "out" / line["image"])["recipe"]["light_transfer"] == 1


def test_then_it_gets_less_freedom(batch: Any, tmp_path: Path):
    gate = "rerolls = 1\nsofter = 2\nlight_transfer = false"
    code, summary, manifest, engine = batch(
        lambda request: None if request.changes.get("denoise", 1) < 0.3 else warped(request), gate
    )
    assert code == 0 and summary["gate"]["softened"] == 4
    for line in manifest:
        assert [attempt["way"] for attempt in line["attempts"]] == ["planned", "re-rolled", "softened", "softened"]
        assert [attempt.get("denoise") for attempt in line["attempts"]] == [None, None, 0.375, 0.28125]
        record = read_provenance(tmp_path / "out" / line["image"])
        assert record["recipe"]["denoise"] == 0.28125 and record["recipe"]["ip_adapter_weight"] == 0.1125
        assert record["recipe_hash"] == line["recipe"] != engine.recipe.hash


def test_at_last_the_relight_engine_makes_it(batch: Any, tmp_path: Path):
    code, summary, manifest, engine = batch(warped, "rerolls = 1\nsofter = 1\nlight_transfer = false")
    assert code == 0 and len(engine.asked) == 12 and summary["gate"]["fallen back"] == 4
    for line in manifest:
        assert "mask" not in line, "the relight engine moves nothing: every label is true"
        assert line["engine"] == "relight" and line["way"] == "fallen back" and len(line["attempts"]) == 4
    image = tmp_path / "out" / manifest[0]["image"]
    assert main(["--reproduce", str(image)]) == 0, "a picture says what made it"


SPOILT: dict[str, Bad] = {
    "warped": warped,
    "shifted": lambda request: shifted(relit(request.pixels), 6, 5),
    "black": lambda request: np.pad(np.full((8, 8, 3), 3, np.uint8), ((0, 248), (0, 248), (0, 0))),
    "flat": lambda request: np.full_like(request.pixels, 90),
    "another head": lambda request: np.ascontiguousarray(relit(request.pixels)[::-1]),
    "no numbers": lambda request: PictureError("the models gave no numbers in fp16"),
}


@pytest.mark.parametrize("how", SPOILT)
def test_no_bad_picture_gets_through(batch: Any, tmp_path: Path, how: str):
    """Every other sample is spoilt, whatever is tried: those are set aside with all attempts, the others are made."""

    def bad(request: Request) -> NDArray[np.uint8] | AcuSimError | None:
        return SPOILT[how](request) if request.sample.frame == 10 else None

    code, summary, manifest, _ = batch(bad, "rerolls = 1\nsofter = 1\nlight_transfer = false\nfallback = 'none'")
    assert code == 2 and summary["gate"]["skipped"] == 2 and summary["gate"]["planned"] == 2
    assert {line["sample"][-4:] for line in manifest if line["status"] == "done"} == {"0001"}
    for line in (line for line in manifest if line["status"] == "set aside"):
        assert "none of 3 attempts" in line["reason"] and len(line["attempts"]) == 3
        assert not any(attempt["accept"] for attempt in line["attempts"])
        assert not (tmp_path / "out" / line["image"]).exists()
        assert "mask" not in line


@pytest.mark.parametrize("lost", [("ledger",), ("ledger", "manifest")])
def test_a_lost_ledger_is_rebuilt_with_attempts_and_masks(
    batch: Any,
    heads: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    tree: Callable[[Path], dict[str, str]],
    lost: tuple[str, ...],
):
    """Two pictures are accepted at once, one after a new seed, and one never."""
    never, later = (str(sample.id) for sample in scan(heads).samples if sample.id.frame == 10)

    def bad(request: Request) -> NDArray[np.uint8] | AcuSimError | None:
        first = request.seed == derive_seed(0, request.sample, 0, 0)
        failed = str(request.sample) == never or (str(request.sample) == later and first)
        return PictureError("no") if failed else None

    gate = "rerolls = 1\nlight_transfer = false\nsofter = 0\nfallback = 'none'"
    code, summary, *_ = batch(bad, gate)
    assert code == 2 and [summary["gate"][way] for way in ("planned", "re-rolled", "skipped")] == [2, 1, 1]
    out = tmp_path / "out"
    before = tree(out)
    if "manifest" in lost:
        (out / "manifest.jsonl").unlink()
    (out / ".acusim/ledger.sqlite").write_bytes(b"")
    assert main(["--repair", "--output", str(out), "--json", "--quiet"]) == code
    message = json.loads(capsys.readouterr().out)
    assert message["created"] == 0 and tree(out) == before
    again, summary, *_ = batch(bad, gate)
    assert again == code and summary["created"] == 0 and tree(out) == before
    picture = out / next(path for path in before if "/image/" in path)
    record = read_provenance(picture)
    assert record["way"] == record["attempts"][-1]["way"] and record["attempts"][-1]["accept"]
    mask = next(out.glob("train/label/mask/*.json"))
    kept = mask.read_bytes()
    mask.unlink()
    (out / ".acusim/ledger.sqlite").unlink()
    assert main(["--repair", "--output", str(out), "--json", "--quiet"]) == code
    assert json.loads(capsys.readouterr().out)["created"] == 1 and mask.read_bytes() == kept and tree(out) == before


def test_a_gate_belongs_to_out(batch: Any, capsys: pytest.CaptureFixture[str]):
    batch(lambda request: None)
    with pytest.raises(json.JSONDecodeError):  # refused: nothing on standard output
        batch(lambda request: None, "rerolls = 7")


def test_the_relight_engine_passes_in_its_processes(heads: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    line = ["--batch", "--engine", "relight", "--dataset", str(heads), "--output", str(tmp_path / "out"), "--gate"]
    assert main([*line, "--workers", "2", "--json", "--quiet"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["gate"]["planned"] + summary["gate"]["re-rolled"] == 4
