"""Templates of heads: their shapes, filling, files, and few persons."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from acusim import acupoints
from acusim.errors import ConfigError, LayoutError
from tests.training.geometry.invented import labels, person
from training.geometry.template import Template, build_template, fill
from training.geometry.triangulation import triangulate

PERSONS = [person(seed) for seed in range(20)]
NEW = person(100)


def hidden(share: float, seed: int = 0) -> np.ndarray:
    """[174] some points."""
    return np.random.default_rng(seed).random(acupoints.COUNT) < share


def test_mean_and_shapes_are_those_of_the_persons():
    template = build_template(PERSONS)
    np.testing.assert_allclose(template.mean_mm, np.mean(PERSONS, 0), atol=1e-9)
    assert len(template.deviations_mm) == 6, "these persons differ in six ways"
    assert (np.diff(template.deviations_mm) < 0).all()
    flat = template.shapes.reshape(6, -1)
    np.testing.assert_allclose(flat @ flat.T, np.eye(6), atol=1e-9)
    coefficients = flat @ (np.array(PERSONS) - template.mean_mm).reshape(20, -1).T
    np.testing.assert_allclose(coefficients.std(1, ddof=1), template.deviations_mm, rtol=1e-6)
    np.testing.assert_allclose(template.head(coefficients.T), PERSONS, atol=1e-6)
    np.testing.assert_allclose(template.head(np.zeros(0)), template.mean_mm)


@pytest.mark.parametrize(("persons", "shapes"), [(1, 0), (2, 1), (5, 4), (20, 6)])
def test_few_persons_give_fewer_shapes(persons: int, shapes: int):
    template = build_template(PERSONS[:persons])
    assert len(template.deviations_mm) == shapes
    assert np.isfinite(fill(np.full((acupoints.COUNT, 3), np.nan), template)).all()
    assert len(build_template(PERSONS[:persons], 3).deviations_mm) == min(shapes, 3)


def test_signs_and_order_of_persons_do_not_matter():
    there, back = build_template(PERSONS), build_template(PERSONS[::-1])
    np.testing.assert_allclose(there.shapes, back.shapes, atol=1e-6)
    largest = np.abs(there.shapes.reshape(6, -1)).argmax(1)
    assert (there.shapes.reshape(6, -1)[np.arange(6), largest] > 0).all()


def test_unknown_points_are_filled_better_than_by_the_mean_and_known_ones_stay():
    template = build_template(PERSONS)
    gaps = hidden(0.5)
    given = np.where(gaps[:, None], np.nan, NEW)
    filled = fill(given, template)
    np.testing.assert_array_equal(filled[~gaps], NEW[~gaps])
    error = np.linalg.norm(filled - NEW, axis=1)[gaps].mean()
    assert error < 0.2 * np.linalg.norm(template.mean_mm - NEW, axis=1)[gaps].mean()


def test_without_shapes_neighbours_decide():
    template = build_template(PERSONS[:1])
    moved = PERSONS[0] + [0, 0, 10]
    gaps = hidden(0.3)
    filled = fill(np.where(gaps[:, None], np.nan, moved), template)
    assert np.linalg.norm(filled - moved, axis=1)[gaps].mean() < 4
    np.testing.assert_array_equal(fill(np.full((acupoints.COUNT, 3), np.nan), template), template.mean_mm)


def test_persons_with_gaps_give_nearly_the_same_template():
    seen = [np.where(hidden(0.3, seed)[:, None], np.nan, head) for seed, head in enumerate(PERSONS)]
    whole, gappy = build_template(PERSONS, 6), build_template(seen, 6)
    assert np.linalg.norm(whole.mean_mm - gappy.mean_mm, axis=1).mean() < 0.5
    plain = np.nanmean(seen, 0)
    assert (
        np.linalg.norm(whole.mean_mm - gappy.mean_mm, axis=1).mean()
        < np.linalg.norm(whole.mean_mm - plain, axis=1).mean()
    )


def test_points_that_nobody_shows_come_from_the_table_moved_as_their_neighbours():
    gaps = hidden(0.1)
    moved = acupoints.positions_mm() + [0, 5, 0]
    template = build_template([np.where(gaps[:, None], np.nan, moved)] * 2)
    assert np.linalg.norm(template.mean_mm - moved, axis=1)[gaps].max() < 5
    assert np.median(np.linalg.norm(template.mean_mm - moved, axis=1)[gaps]) < 1
    nothing = build_template([np.full((acupoints.COUNT, 3), np.nan)])
    np.testing.assert_allclose(nothing.mean_mm, acupoints.positions_mm())


def test_triangulated_heads_are_what_it_is_built_from():
    heads = [triangulate(**labels(points)).points_mm for points in PERSONS]
    template = build_template(heads)
    ever = np.isfinite(heads).all(-1).any(0)
    assert 60 < ever.sum() < acupoints.COUNT
    assert np.linalg.norm(template.mean_mm - np.mean(PERSONS, 0), axis=1)[ever].mean() < 1


def test_a_saved_template_is_the_same_and_has_the_same_bytes(tmp_path):
    template = build_template(PERSONS)
    template.save(tmp_path / "a.safetensors")
    again = Template.load(tmp_path / "a.safetensors")
    np.testing.assert_allclose(again.mean_mm, template.mean_mm, atol=1e-4)
    np.testing.assert_allclose(again.shapes, template.shapes, atol=1e-7)
    again.save(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    build_template(PERSONS[:1]).save(tmp_path / "c.safetensors")
    assert len(Template.load(tmp_path / "c.safetensors").deviations_mm) == 0


def broken(**changes) -> dict[str, np.ndarray]:
    return {**build_template(PERSONS).to_tensors(), **{f"template.{name}": value for name, value in changes.items()}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean_mm": np.zeros((174, 2), np.float32)}, r"mean_mm is \(174, 2\), not \(174, 3\)"),
        ({"mean_mm": np.full((174, 3), np.nan, np.float32)}, "mean_mm contains a value that is not finite"),
        ({"mean_mm": np.full((174, 3), 2e3, np.float32)}, "units are mm"),
        ({"deviations_mm": np.ones(5, np.float32)}, r"shapes is \(6, 174, 3\), not \(5, 174, 3\)"),
        ({"deviations_mm": -np.ones(6, np.float32)}, "not positive"),
        ({"shapes": np.ones((6, 174, 3), np.float32)}, "length 1"),
        ({"shapes": np.ones((6, 174, 3), np.int64)}, "of type int64"),
    ],
)
def test_invalid_tensors_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        Template.from_tensors(broken(**changes))


def test_files_without_a_template_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no tensor template\.mean_mm"):
        Template.from_tensors({})
    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "a.safetensors")
    with pytest.raises(LayoutError, match="'a.safetensors' holds no template"):
        Template.load(tmp_path / "a.safetensors")
    save_file(broken(deviations_mm=-np.ones(6, np.float32)), tmp_path / "b.safetensors")
    with pytest.raises(LayoutError, match="'b.safetensors': template: a standard deviation is not positive"):
        Template.load(tmp_path / "b.safetensors")


def test_wrong_heads_are_refused():
    with pytest.raises(ConfigError, match="at least one person"):
        build_template([])
    with pytest.raises(ConfigError, match=r"\(100, 3\)"):
        build_template([np.zeros((100, 3))])
    with pytest.raises(ConfigError, match=r"\(100, 3\)"):
        fill(np.zeros((100, 3)), build_template(PERSONS[:2]))
