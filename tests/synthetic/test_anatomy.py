"""The mean heads carry AcuSim's acupoints."""

import numpy as np
import pytest

from acusim import acupoints
from synthetic import anatomy, grids
from synthetic.head import Head
from synthetic.identity import identities
from synthetic.measure import held_out_residuals_mm, residual_table
from synthetic.shape import deform

pytestmark = pytest.mark.numeric


@pytest.mark.parametrize("gender", ["M", "F"])
def test_surface_passes_near_the_real_acupoints(gender: str) -> None:
    name, count, median, p95, worst = residual_table(gender)[0]
    assert (name, count) == ("all", 174 - int(acupoints.INNER.sum()))
    assert median <= 4.0, f"median residual {median:.2f} mm, aim 4 mm"
    assert p95 <= 4.0 and worst <= 8.0, (p95, worst)


def test_surface_between_the_points_is_near_too() -> None:
    """Points the head was not pulled to: a fair measure of the fit."""
    held_out = held_out_residuals_mm("M")
    assert (~np.isnan(held_out)).sum() > 100
    assert np.nanmedian(held_out) <= 4.0, np.nanmedian(held_out)


@pytest.mark.parametrize("gender", ["M", "F"])
def test_carried_points_are_the_table_within_the_residual(gender: str) -> None:
    head = anatomy.mean_head(gender)
    carried = head.places.of(head.vertices) + head.offsets_mm
    miss = np.linalg.norm(carried - acupoints.positions_mm(anatomy.POINT_SET[gender]), axis=1)
    np.testing.assert_allclose(miss[~acupoints.INNER], head.residual_mm[~acupoints.INNER], atol=1e-6)
    np.testing.assert_allclose(miss[acupoints.INNER], 0.0, atol=1e-6)


def test_topology_is_the_same_for_both_genders() -> None:
    man, woman = anatomy.mean_head("M"), anatomy.mean_head("F")
    np.testing.assert_array_equal(man.faces, woman.faces)
    assert man.vertices.shape == woman.vertices.shape


def test_head_is_mirror_symmetric() -> None:
    head = anatomy.mean_head("M")
    grid = head.vertices[head.spans["head"]].reshape(grids.ROWS, grids.COLUMNS + 1, 3)
    np.testing.assert_allclose(grid[:, ::-1] * [-1, 1, 1], grid, atol=1e-3)


def test_normals_point_outwards() -> None:
    head = anatomy.mean_head("M")
    normals = grids.vertex_normals(head.vertices, head.faces)
    for part in ("head", "body"):
        span = head.spans[part]
        outward = head.vertices[span] - (grids.HEAD_CENTER_MM if part == "head" else [0, 30, 0]) * np.array(1.0)
        if part == "body":
            outward[:, 2] = 0
        agree = (np.einsum("nc,nc->n", outward, normals[span]) > 0).mean()
        assert agree > 0.97, (part, agree)
    left = head.vertices[head.spans["ear_left"]]
    assert (normals[head.spans["ear_left"]][:, 0] > 0).mean() > 0.7 and left[:, 0].min() > 40


def test_acupoint_normals_agree_with_the_real_ones(bald: Head) -> None:
    cosine = np.einsum("nc,nc->n", bald.acupoint_normals, acupoints.normals())[~acupoints.INNER]
    assert np.median(cosine) > 0.9, np.median(cosine)


def test_a_mean_identity_leaves_the_upper_head_alone(bald: Head) -> None:
    table = acupoints.positions_mm("asher")
    miss = np.linalg.norm(bald.acupoints_mm - table, axis=1)
    assert np.median(miss) < 1.0, np.median(miss)


def test_points_move_with_the_surface(person: Head) -> None:
    """The carried point of another person is the deformed mean point, up to the triangle's own bend."""
    mean = anatomy.mean_head(person.who.gender)
    moved = deform(mean.places.of(mean.vertices), person.who, mean.landmarks)
    outer = ~acupoints.INNER
    assert np.linalg.norm(moved - person.acupoints_mm, axis=1)[outer].max() < 0.1


def test_identities_differ_by_millimetres_not_centimetres() -> None:
    for who in identities(0, 8):
        mean = anatomy.mean_head(who.gender)
        points = mean.places.of(mean.vertices)
        shift = np.linalg.norm(deform(points, who, mean.landmarks) - points, axis=1)
        assert 0.5 < np.median(shift) < 15 and shift.max() < 40, (who.name, np.median(shift), shift.max())
