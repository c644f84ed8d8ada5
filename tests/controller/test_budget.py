"""``--budget`` and ``--focus``: shares worked out by hand, nested budgets, and a batch that spends them."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from acusim.errors import ConfigError
from acusim.layout import Sample, scan
from acusim.weak_spots import WeakSpot, WeakSpots
from controller.budget import Focus, affordable, focus_of, scene_picker
from controller.plan import Item, variant_folders
from controller.planning import plan_batch
from controller.settings import BatchSettings
from engines.recipe import Recipe
from engines.scenes import load_scenes

FRAMES = (1, 4, 7, 10)


def _spot(effect: float) -> WeakSpot:
    return WeakSpot(pictures=9, persons=9, mean_mm=2.0, effect_mm=effect)


def _table(**effects: dict[str, float]) -> WeakSpots:
    spots = {attribute: {value: _spot(effect) for value, effect in of.items()} for attribute, of in effects.items()}
    return WeakSpots(2.0, 36, 9, "run", "data", spots)


@pytest.fixture
def root(make_dataset: Callable[..., Path]) -> Path:
    return make_dataset(models=("F_Ann_N_HA_O", "M_Bob_N_HA_O", "F_Cleo_N_HA_O"), frames=FRAMES)


WEAK = _table(
    view={"0° 0°": -1.0, "+30° 0°": 1.0, "+60° 0°": 0.0, "+90° 0°": 4.0},  # weights 0.5, 1.5, 1, 3
    gender={"F": 0.0, "M": 0.0},
    bald={"no": 0.0},
    hair={"HA": 0.0},
)


def _items(root: Path, variants: int) -> list[Item]:
    folders = variant_folders(variants)
    samples: list[Sample] = scan(root, None).samples
    return [Item(sample, k, folder) for sample in samples for k, folder in enumerate(folders)]


def _counts(items: list[Item]) -> Counter[int]:
    return Counter(item.sample.id.frame for item in items)


def test_images_are_spread_as_the_weights_are(root: Path):
    items = _items(root, 20)
    counts = _counts(affordable(items, 72, 0, Focus(WEAK, frozenset())))
    assert sum(counts.values()) == 72
    # 72 images over 3 persons x (0.5, 1.5, 1, 3): of a sample with weight w 4 w, to within one.
    assert [counts[frame] for frame in FRAMES] == pytest.approx([6, 18, 12, 36], abs=3)
    assert [_counts(affordable(items, 72, 0, None))[frame] for frame in FRAMES] == pytest.approx([18] * 4, abs=3)


def test_a_larger_budget_creates_the_same_and_more(root: Path):
    items, focus = _items(root, 3), Focus(WEAK, frozenset())
    before: set[str] = set()
    for budget in range(1, len(items) + 2):
        keys = {item.key for item in affordable(items, budget, 0, focus)}
        assert len(keys) == min(budget, len(items)) and before < keys or keys == before and budget > len(items)
        before = keys


def test_each_sample_has_its_first_variants(root: Path):
    chosen = affordable(_items(root, 5), 30, 7, Focus(WEAK, frozenset()))
    variants: dict[str, list[int]] = {}
    for item in chosen:
        variants.setdefault(item.sample.image, []).append(item.variant)
    assert all(found == list(range(len(found))) for found in variants.values())


def test_other_samples_change_no_turn(root: Path):
    """Whoever is left out, the order of the others stays."""
    items = _items(root, 2)
    some = [item for item in items if item.sample.id.name != "Bob"]
    for budget in (1, 5, 9):
        among = [item.key for item in affordable(some, budget, 0, None)]
        whole = next(
            keys
            for n in range(budget, len(items) + 1)
            if len(keys := [i.key for i in affordable(items, n, 0, None) if i.sample.id.name != "Bob"]) == budget
        )
        assert among == whole


def test_another_seed_chooses_others(root: Path):
    items = _items(root, 1)
    choices = {tuple(item.key for item in affordable(items, 4, seed, None)) for seed in range(6)}
    assert len(choices) > 1


def test_scenes_are_as_likely_as_the_error_under_them():
    scenes, _ = load_scenes()
    strong, weak = scenes[2], scenes[5]
    focus = Focus(_table(light={strong.sha256: 8.0, weak.sha256: -1.9}), frozenset())  # weights 5 and 0.1, others 1
    pick = scene_picker(scenes, focus)
    counts = Counter(pick(seed).name for seed in range(4000))
    expected = {scene.name: 4000 / 11.1 for scene in scenes} | {strong.name: 20000 / 11.1, weak.name: 400 / 11.1}
    for scene in scenes:
        assert counts[scene.name] == pytest.approx(expected[scene.name], rel=0.15, abs=20)
    plain = scene_picker(scenes, Focus(_table(light={"other": 3.0}), frozenset()))
    assert [plain(seed) for seed in range(50)] == [scene_picker(scenes, None)(seed) for seed in range(50)]


def _settings(root: Path, **values: object) -> BatchSettings:
    return BatchSettings(dataset=root, recipe=Recipe(engine="relight"), **values)


def test_only_lights_that_are_focused_change_the_identity(root: Path, tmp_path: Path):
    scenes, _ = load_scenes()
    dull, lit = tmp_path / "dull.toml", tmp_path / "lit.toml"
    dull.write_text(WEAK.to_toml(), encoding="utf-8")
    table = WeakSpots(2.0, 36, 9, "run", "data", {**WEAK.spots, "light": {scenes[0].sha256: _spot(1.0)}})
    lit.write_text(table.to_toml(), encoding="utf-8")
    plain = plan_batch(_settings(root)).identity
    assert plan_batch(_settings(root, budget=5, focus=dull)).identity == plain
    changed = plan_batch(_settings(root, budget=5, focus=lit)).identity
    assert changed.keys() - plain.keys() == {"focused scenes"}


@pytest.mark.parametrize(
    ("attribute", "values"), [("view", {"-90° 0°": 1.0}), ("hair", {"HZ": 1.0}), ("gender", {}), ("bald", {"yes": 1.0})]
)
def test_a_table_of_other_data_is_refused(root: Path, tmp_path: Path, attribute: str, values: dict[str, float]):
    path = tmp_path / "weak.toml"
    spots = {**WEAK.spots, attribute: {value: _spot(effect) for value, effect in values.items()}}
    path.write_text(WeakSpots(2.0, 36, 9, "run", "data", spots).to_toml(), encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        focus_of(path, scan(root, None).samples, frozenset())
    assert f"is of other data: it has {attribute}" in str(error.value)


def test_values_that_were_not_measured_are_noted(root: Path, tmp_path: Path):
    path = tmp_path / "weak.toml"
    spots = {**WEAK.spots, "view": {"0° 0°": _spot(1.0)}}
    path.write_text(WeakSpots(2.0, 36, 9, "run", "data", spots).to_toml(), encoding="utf-8")
    _, notes = focus_of(path, scan(root, None).samples, frozenset())
    assert notes == ["--focus: view +30° 0°, +60° 0°, +90° 0° was not measured and counts as the mean"]


def test_a_focus_without_a_budget_is_refused(root: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match="--budget N"):
        _settings(root, focus=tmp_path / "weak.toml")


def test_a_batch_spends_its_budget_and_a_larger_one_goes_on(
    root: Path, tmp_path: Path, batch: Callable[..., object], command: Callable[..., object]
):
    weak, out = tmp_path / "weak.toml", tmp_path / "out"
    weak.write_text(WEAK.to_toml(), encoding="utf-8")

    def images() -> dict[str, int]:
        return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in out.rglob("image/*/*.png")}

    batch(root, out, "--variants", 3, "--budget", 5, "--focus", weak)
    first = images()
    assert len(first) == 5
    batch(root, out, "--variants", 3, "--budget", 9, "--focus", weak)
    second = images()
    assert len(second) == 9 and second.items() > first.items()
    # A folder without images would be no data set: readers of OUT refuse it.
    used = {name[:3] for name in second}
    assert {path.name for path in out.glob("v*")} == used != {"v01", "v02", "v03"}
    assert all((out / folder / "map.txt").is_file() for folder in used)
    command("--verify", "--output", out)
    # OUT has all that a repair needs, also when the table is gone.
    weak.unlink()
    damaged = out / sorted(second)[0]
    damaged.write_bytes(b"")
    command("--repair", "--output", out)
    command("--verify", "--output", out)
    assert images().keys() == second.keys()
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert {line["image"] for line in lines if line["status"] == "done"} == set(second)
    # Pictures of --budget are those of the whole batch.
    whole = tmp_path / "whole"
    batch(root, whole, "--variants", 3)
    assert all((whole / name).read_bytes() == (out / name).read_bytes() for name in second)
