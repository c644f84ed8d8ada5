"""The engine's contract: with random weights where pixels matter, with fake models where faults do."""

import hashlib
import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from acusim.control_hint import control_hint
from acusim.errors import AcuSimError, ConfigError, EngineError, PictureError
from acusim.foreground import find_foreground, soft_edge
from acusim.layout import scan
from acusim.pictures import read_provenance, read_rgb
from acusim.sample_id import SampleId
from controller.cli import main
from controller.ledger import DONE, LEDGER_FILE, STATE_FOLDER, Ledger
from engines.base import Request, Result, Setup
from engines.embedded import loading, weight_files
from engines.embedded.engine import EmbeddedEngine
from engines.embedded.model_threads import ModelThreads
from engines.embedded.models import Files, Models, Placement
from engines.embedded.pipeline import noise_of
from engines.options import EmbeddedOptions
from engines.recipe import Recipe
from engines.scenes import Scene
from tests.engines.embedded.model_files import SIZES_FOR_TEXTS, small_modules
from tests.support import ROOT, add_sample, draw_head

NAMES = ROOT / "tools/random_weights.toml"
QUICK = {"engine": "embedded", "steps": 1, "denoise": 0.3}


def request(scene: Scene, seed: int = 1, size: int = 64, width: int | None = None, text: str = "a man") -> Request:
    """A drawn head with its depth map."""
    picture, depth = draw_head(size, 0.5)
    picture, depth = picture[:, : width or size], depth[:, : width or size]
    file = io.BytesIO()
    Image.fromarray(depth).save(file, "PNG")
    return Request(
        sample=SampleId("F", "Ball", "N", "HA", "O", 1),
        source=Path("nowhere.png"),
        pixels=picture,
        source_data=b"",
        source_sha256="",
        depth=None,
        depth_data=file.getvalue(),
        scene=scene,
        bald=False,
        prompt_set="female",
        positive=text,
        negative="blurry",
        seed=seed,
    )


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    ramp = np.linspace(0, 255, 96).astype(np.uint8)
    path = tmp_path / "scene.png"
    Image.fromarray(np.stack([np.tile(ramp, (64, 1))] * 3, 2)).save(path)
    return Scene(path.name, path, hashlib.sha256(path.read_bytes()).hexdigest())


def pixels(answer: Result | AcuSimError) -> np.ndarray[Any, np.dtype[np.uint8]]:
    assert isinstance(answer, Result), answer
    return answer.pixels


@pytest.fixture(scope="module", autouse=True)
def small_parts() -> Iterator[None]:
    """The files of small_models load."""
    with small_modules(SIZES_FOR_TEXTS):
        yield


@pytest.fixture(scope="module")
def engine(small_models: Path) -> Iterator[EmbeddedEngine]:
    """Open, on random weights."""
    recipe = Recipe.from_dict(QUICK, Recipe.from_toml(NAMES))
    options = EmbeddedOptions(models=small_models, device="cpu")
    with EmbeddedEngine(recipe, Setup(small_models, options=options)) as engine:
        yield engine


@pytest.mark.slow
def test_a_picture_depends_on_its_seed_and_not_on_its_batch(engine: EmbeddedEngine, scene: Scene):
    together = [pixels(answer) for answer in engine.augment([request(scene, seed) for seed in (1, 2, 3)])]
    alone = [pixels(engine.augment([request(scene, seed)])[0]) for seed in (1, 2, 3)]
    for one, other in zip(together, alone, strict=True):
        assert np.abs(one.astype(int) - other).max() <= 1
    assert np.abs(alone[0].astype(int) - alone[1]).max() > 1
    assert np.array_equal(alone[2], pixels(engine.augment([request(scene, 3)])[0]))


@pytest.mark.slow
def test_sides_that_are_no_multiple_of_16_keep_their_size_and_place(engine: EmbeddedEngine, scene: Scene):
    odd = request(scene, size=70, width=57)
    engine.recipe, before = engine.recipe.changed(background="keep"), engine.recipe
    try:
        [answer] = engine.augment([odd])
    finally:
        engine.recipe = before
    found = pixels(answer)
    assert found.shape == odd.pixels.shape
    outside = soft_edge(find_foreground(odd.pixels, odd.depth_data).mask) == 0
    assert outside.any() and np.array_equal(found[outside], odd.pixels[outside])
    assert not np.array_equal(found, odd.pixels)


@pytest.mark.slow
def test_the_background_is_black_or_the_scene(engine: EmbeddedEngine, scene: Scene):
    asked = request(scene)
    outside = soft_edge(find_foreground(asked.pixels, asked.depth_data).mask) == 0
    before = engine.recipe
    try:
        engine.recipe = before.changed(background="black")
        assert not pixels(engine.augment([asked])[0])[outside].any()
    finally:
        engine.recipe = before
    behind = pixels(engine.augment([asked])[0])
    # The scene is a ramp from left to right, cut at both sides.
    assert behind[0, 2, 0] < behind[0, 32, 0] < behind[0, 61, 0]
    assert (behind[0, :, 0] == behind[0, :, 2]).all()


@pytest.mark.slow
def test_a_request_of_its_own_recipe_gives_what_that_recipe_gives(engine: EmbeddedEngine, scene: Scene):
    asked, before = request(scene), engine.recipe
    softer = before.changed(denoise=0.2, ip_adapter_weight=0.0)
    usual, [found] = engine.augment([asked]), engine.augment([replace(asked, recipe=softer)])
    engine.recipe = softer
    try:
        [wanted] = engine.augment([asked])
    finally:
        engine.recipe = before
    assert np.array_equal(pixels(found), pixels(wanted)) and not np.array_equal(pixels(found), pixels(usual[0]))


@pytest.mark.slow
def test_pictures_record_what_made_them(engine: EmbeddedEngine, scene: Scene):
    [answer] = engine.augment([request(scene)])
    assert isinstance(answer, Result)
    assert answer.facts["precision"] == "fp32" and answer.facts["foreground"] == "depth-mm16"
    assert len(answer.facts["weights"]) == 12
    found = json.loads(engine.documents()["models.json"])
    assert found == engine.identity()
    assert set(found) == {
        *(f"weights {role}" for role in ("checkpoint", "ic_light", "ip_adapter", "clip_vision")),
        "precision",
    }


@pytest.mark.slow
def test_a_bad_prompt_or_picture_costs_only_itself(engine: EmbeddedEngine, scene: Scene):
    flat = replace(request(scene), pixels=np.full((64, 64, 3), 9, np.uint8), depth_data=None)
    asked = [request(scene, 1), flat, request(scene, 2, text="embedding:x"), request(scene, 3)]
    answers = engine.augment(asked)
    assert [type(answer) for answer in answers] == [Result, PictureError, PictureError, Result]
    assert "no foreground" in str(answers[1]) and "textual inversion" in str(answers[2])


@pytest.mark.slow
def test_a_batch_resumes_verifies_and_makes_the_same_again(small_models: Path, tmp_path: Path, capsys: Any):
    data, out = tmp_path / "data", tmp_path / "out"
    for frame in (1, 2, 3):
        add_sample(data, f"F_Ann_N_HA_O_{frame:04d}")
    line = ["--batch", "--engine", "embedded", "--dataset", str(data), "--output", str(out), "--recipe", str(NAMES)]
    line += ["--set", "steps=1", "--models", str(small_models), "--device", "cpu", "--json", "--quiet"]
    assert main([*line, "--limit", "2"]) == 0
    assert json.loads(capsys.readouterr().out)["created"] == 2
    before = {path: path.read_bytes() for path in out.rglob("*.png")}
    assert main(line) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["created"], report["already"]) == (1, 2)
    assert all(path.read_bytes() == content for path, content in before.items())
    made = [out / sample.image for sample in scan(out).samples]
    record = read_provenance(made[0])
    assert record["engine"] == "embedded" and record["facts"]["precision"] == "fp32"
    assert (out / "models.json").is_file()
    assert main(["--verify", "--output", str(out)]) == 0
    assert main(["--reproduce", str(made[0])]) == 0
    assert read_rgb(made[0]).pixels.shape == (64, 64, 3)
    capsys.readouterr()
    # Other weights under the same name are other settings.
    other = tmp_path / "other"
    for path in small_models.glob("*/*.safetensors"):
        (other / path.parent.name).mkdir(parents=True, exist_ok=True)
        (other / path.parent.name / path.name).symlink_to(path)
    adapter = other / "ipadapter/ip-adapter_sd15_random.safetensors"
    tensors = load_file(adapter)
    adapter.unlink()
    save_file({name: value + 1 if name.endswith("norm.bias") else value for name, value in tensors.items()}, adapter)
    line[line.index(str(small_models))] = str(other)
    assert main(line) == 1
    assert "weights ip_adapter" in capsys.readouterr().err


@pytest.mark.slow
def test_a_batch_that_was_killed_is_finished_by_the_same_command(small_models: Path, tmp_path: Path, capsys: Any):
    data, out = tmp_path / "data", tmp_path / "out"
    for frame in range(1, 5):
        add_sample(data, f"F_Ann_N_HA_O_{frame:04d}")
    line = ["--batch", "--engine", "embedded", "--dataset", str(data)]
    line += ["--output", str(out), "--recipe", str(NAMES), "--set", "steps=1", "--models", str(small_models)]
    line += ["--batch-size", "1", "--device", "cpu", "--json", "--quiet"]
    command = [sys.executable, "-m", "tests.engines.embedded.small_controller", *line]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    done = 0
    while child.poll() is None and not done:
        time.sleep(0.02)
        with suppress(AcuSimError), Ledger(out / STATE_FOLDER / LEDGER_FILE, read_only=True) as ledger:
            done = ledger.counts()[DONE]
    child.kill()
    child.wait()
    assert done
    assert main(line) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["created"] + report["already"] == 4 and report["already"] >= 1
    assert main(["--verify", "--output", str(out)]) == 0


@pytest.mark.slow
def test_half_precision_decodes_black_and_broken_pictures_again(
    engine: EmbeddedEngine, small_models: Path, monkeypatch: pytest.MonkeyPatch
):
    checkpoint = small_models / "checkpoints/sd15_random.safetensors"
    models = Models.__new__(Models)
    models.placement = Placement(torch.device("cpu"), "bf16")
    models._files, models._vae_fp32, models._active = Files(checkpoint), None, ""
    exact = loading.load_vae(checkpoint, torch.float32)

    class Broken:
        """A VAE that fails on the first picture (no numbers) and on the second (black)."""

        def __init__(self) -> None:
            self.calls = 0

        def decode(self, latents: torch.Tensor) -> Any:
            self.calls += 1
            answer = exact.decode(latents.float())
            if self.calls < 3:
                answer.sample = torch.full_like(answer.sample, float("nan") if self.calls == 1 else -1.0)
            return answer

    models._modules = {"vae": Broken()}
    latents = torch.randn(3, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found, again = models.decode(latents)
        wanted = ((exact.decode(latents / 0.18215).sample + 1) / 2).clamp(0, 1)
    assert again == [True, True, False]
    torch.testing.assert_close(found[:2], wanted[:2], atol=1e-5, rtol=0)


class FakePipeline:
    """In place of the pipeline: paints each picture grey, and fails as configured."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.recipes: list[Recipe] = []
        self.hints: list[torch.Tensor | None] = []
        self.fits = 100
        self.broken: set[int] = set()

    def latents(self, pictures: torch.Tensor, noise: torch.Tensor, *more: Any) -> torch.Tensor:
        self.sizes.append(len(pictures))
        *_, step, recipe, hints = more
        self.recipes.append(recipe)
        self.hints.append(hints)
        step()
        if len(pictures) > self.fits:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        latents = noise.clone()
        for place in range(len(latents)):
            if place in self.broken:
                latents[place] = float("nan")
        return latents

    def decode(self, latents: torch.Tensor) -> tuple[torch.Tensor, list[bool]]:
        return torch.full((len(latents), 3, 64, 64), 0.5), [False] * len(latents)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakePipeline:
    pipeline = FakePipeline()
    monkeypatch.setattr(weight_files, "identity", lambda recipe, models: {"weights checkpoint": "0" * 64})
    monkeypatch.setattr(weight_files, "ready_weights", lambda recipe, models: ({}, []))
    monkeypatch.setattr(EmbeddedEngine, "_start_threads", lambda self: ModelThreads(1))
    monkeypatch.setattr(EmbeddedEngine, "_load", lambda self, paths: setattr(self, "_pipeline", pipeline))
    return pipeline


def opened(settings: Any = None, **more: Any) -> EmbeddedEngine:
    engine = EmbeddedEngine(
        Recipe.from_dict(QUICK | (settings or {})), Setup(Path(), options=EmbeddedOptions(device="cpu", **more))
    )
    engine.open()
    return engine


def test_a_control_net_sees_the_padded_depth_of_each_image(fake: FakePipeline, scene: Scene):
    batch = [request(scene, 1, width=56), replace(request(scene, 2, width=56), depth_data=None)]
    with opened({"control_strength": 0.5}) as engine:
        made, refused = engine.augment(batch)
    assert pixels(made).shape == (64, 56, 3)
    assert isinstance(refused, PictureError) and "control_strength > 0 needs a depth map" in str(refused)
    [hints] = fake.hints
    assert hints is not None and hints.shape == (1, 3, 64, 64) and (hints[:, :1] == hints).all()
    wanted = control_hint(find_foreground(batch[0].pixels, batch[0].depth_data))
    assert (np.rint(255 * hints[0, 0].numpy())[:, :56] == wanted).all() and not hints[..., 56:].any()
    with opened() as engine:
        engine.augment(batch[:1])
    assert fake.hints[1] is None


def test_out_of_memory_halves_the_batch_and_is_remembered(fake: FakePipeline, scene: Scene):
    fake.fits = 3
    with opened() as engine:
        answers = engine.augment([request(scene, seed) for seed in range(8)])
        assert all(isinstance(answer, Result) for answer in answers)
        assert fake.sizes == [8, 4, 2, 2, 2, 2]
        assert any("too little memory for 8 images of 64 x 64: continuing with 4" in note for note in engine.notes)
        fake.sizes.clear()
        engine.augment([request(scene, seed) for seed in range(4)])
        assert fake.sizes == [2, 2]


def test_a_picture_that_never_fits_is_refused_with_advice(fake: FakePipeline, scene: Scene):
    fake.fits = 0
    with opened() as engine:
        answers = engine.augment([request(scene, 1), request(scene, 2)])
    assert all("64 x 64 pixels do not fit into memory, even alone; use --low-memory" in str(a) for a in answers)


def test_nan_skips_one_picture(fake: FakePipeline, scene: Scene):
    fake.broken = {1}
    with opened() as engine:
        first, second, third = engine.augment([request(scene, seed) for seed in range(3)])
    assert isinstance(first, Result) and isinstance(third, Result)
    assert isinstance(second, PictureError) and "--precision bf16 or fp32" in str(second)


def test_light_alone_is_taken_before_the_background_is_laid(fake: FakePipeline, scene: Scene, monkeypatch: Any):
    """The decoded picture is the sample, brighter to the right: its light alone gives nearly that picture."""
    asked = request(scene)
    ramp = torch.linspace(0.4, 1.0, 64)
    sample = torch.from_numpy(asked.pixels).permute(2, 0, 1) / 255
    monkeypatch.setattr(fake, "decode", lambda latents: ((sample * ramp)[None], [False]))
    with opened() as engine:
        alone = engine.recipe.changed(light_transfer=1.0, background="keep")
        [answer] = engine.augment([replace(asked, recipe=alone)])
    inside = cv2.erode(find_foreground(asked.pixels, asked.depth_data).mask.astype(np.uint8), np.ones((9, 9))) > 0
    wanted = (sample * ramp).permute(1, 2, 0).numpy() * 255
    assert np.abs(pixels(answer) - wanted)[inside].max() < 12 < np.abs(asked.pixels - wanted)[inside].max()


def test_a_picture_without_light_is_skipped_alone(fake: FakePipeline, scene: Scene):
    with opened() as engine:
        alone = engine.recipe.changed(light_transfer=1.0)
        usual, refused = engine.augment([request(scene, 1), replace(request(scene, 2), recipe=alone)])
    assert isinstance(usual, Result) and isinstance(refused, PictureError) and "the head is flat" in str(refused)


def test_requests_of_other_texts_sizes_and_scenes_are_separated(fake: FakePipeline, scene: Scene):
    with opened() as engine:
        engine.augment([request(scene, 1), request(scene, 2, text="a woman"), request(scene, 3)])
    assert fake.sizes == [2, 1]


def test_a_picture_may_have_less_freedom_than_its_batch(fake: FakePipeline, scene: Scene):
    with opened() as engine:
        softer = engine.recipe.changed(denoise=0.2, ip_adapter_weight=0.1)
        engine.augment([request(scene, 1), replace(request(scene, 2), recipe=softer), request(scene, 3)])
    assert fake.sizes == [2, 1] and fake.recipes == [engine.recipe, softer]


def test_stop_ends_running_work(fake: FakePipeline, scene: Scene):
    with opened() as engine:
        engine.stop()
        with pytest.raises(EngineError, match="stopped"):
            engine.augment([request(scene)])


def test_more_than_fits_at_once_is_shared_among_the_threads(
    fake: FakePipeline, scene: Scene, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(EmbeddedEngine, "_start_threads", lambda self: ModelThreads(2))
    monkeypatch.setattr("engines.embedded.engine.CPU_PIXELS", 3 * request(scene).pixels[..., 0].size)
    with opened() as engine:
        assert len(engine.augment([request(scene, seed) for seed in range(5)])) == 5
    assert sorted(fake.sizes) == [2, 3]


def test_several_lanes_at_once_get_their_own_pictures(fake: FakePipeline, scene: Scene):
    made: dict[int, list[Result | AcuSimError]] = {}
    with opened() as engine:

        def lane(number: int) -> None:
            made[number] = engine.augment([request(scene, 10 * number + seed) for seed in range(number)])

        threads = [threading.Thread(target=lane, args=(number,)) for number in (1, 2, 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {number: len(answers) for number, answers in made.items()} == {1: 1, 2: 2, 3: 3}


@pytest.mark.parametrize(
    "setup, message",
    [
        ({"device": "cuda"}, "no CUDA GPU is available"),
        ({"device": "cpu", "precision": "fp16"}, "fp16 is for GPUs"),
    ],
)
def test_a_device_that_is_not_available_is_reported(setup: dict[str, Any], message: str):
    if setup["device"] == "cuda" and torch.cuda.is_available():
        return
    with pytest.raises(EngineError, match=message):
        EmbeddedEngine(Recipe.from_dict(QUICK), Setup(Path(), options=EmbeddedOptions(**setup))).identity()


def test_bad_setups_are_refused():
    with pytest.raises(ConfigError, match="batch_size = 65 is outside 1..64"):
        EmbeddedEngine(Recipe.from_dict(QUICK), Setup(Path(), options=EmbeddedOptions(batch_size=65)))


def test_noise_is_torchs_for_each_seed():
    found = noise_of([5, 2**63 - 1], 64, 32)
    torch.manual_seed(5)
    assert torch.equal(found[0], torch.randn(1, 4, 8, 4)[0])
    assert found.shape == (2, 4, 8, 4)


@pytest.mark.slow
def test_encoders_round_their_weights_as_comfyui_does(small_models: Path, tmp_path: Path):
    # A file in float32 gives what its rounding to float16 gives: ComfyUI holds encoders in float16.
    source = small_models / "clip_vision/clip_vision_random.safetensors"
    finer = {name: value.float() * (1 + 1e-5) for name, value in load_file(source).items()}
    save_file(finer, tmp_path / "finer.safetensors")
    save_file({name: value.half() for name, value in finer.items()}, tmp_path / "rounded.safetensors")
    picture = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        one, other = (
            loading.load_vision_encoder(tmp_path / name, torch.float32)(picture).image_embeds
            for name in ("finer.safetensors", "rounded.safetensors")
        )
    assert one.dtype == torch.float32
    assert torch.equal(one, other)
