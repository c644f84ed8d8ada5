"""Augmentation: points stay on what they mark, exactly; off means untouched; the seed decides."""

import math

import numpy as np
import pytest
import torch

from acusim import acupoints
from acusim.errors import ConfigError
from training.data.augmentation import Augmentation, augment, head_flip

pytestmark = pytest.mark.numeric

S = 96
EVERYTHING = Augmentation(
    brightness=0.1, contrast=0.2, gamma=0.3, colour=0.1, noise=0.05, blur=1.5, rotation_deg=20, scale=0.2,
    translate=0.1, flip=0.5,
)  # fmt: skip


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def dots(points: np.ndarray) -> torch.Tensor:
    """[B, 3, S, S] a Gaussian dot of sigma 2 px for each of 3 points [B, 3, 2], one a channel; edges count from 0."""
    centres = (np.arange(S) + 0.5) / S
    across = np.exp(-0.5 * ((centres - points[..., 0, None]) * S / 2) ** 2)
    down = np.exp(-0.5 * ((centres - points[..., 1, None]) * S / 2) ** 2)
    return torch.from_numpy((down[..., :, None] * across[..., None, :]).astype(np.float32))


def found(images: torch.Tensor) -> np.ndarray:
    """[B, 3, 2] centre of mass of each channel, 0..1."""
    centres = (torch.arange(S, dtype=torch.float64) + 0.5) / S
    weight = images.double()
    total = weight.sum((2, 3))
    x, y = (weight.sum(2) * centres).sum(2) / total, (weight.sum(3) * centres).sum(2) / total
    return torch.stack([x, y], 2).numpy()


POINTS = np.random.default_rng(0).uniform(0.3, 0.7, (32, 3, 2))
SWAP = torch.tensor([1, 0, 2])


@pytest.mark.parametrize(
    "settings",
    [
        Augmentation(rotation_deg=30),
        Augmentation(scale=0.25),
        Augmentation(translate=0.12),
        Augmentation(flip=1.0),
        Augmentation(rotation_deg=25, scale=0.2, translate=0.08, flip=0.5),
    ],
    ids=["rotation", "scale", "translate", "flip", "all"],
)
def test_points_stay_on_their_dots(settings):
    visible = torch.ones(32, 3, dtype=torch.bool)
    out = augment(dots(POINTS), torch.from_numpy(POINTS).float(), visible, seeded(), settings, SWAP)
    # Channel k shows what was point k, wherever it is listed now.
    shown = np.take_along_axis(found(out.images), out.source.numpy()[..., None], 1)
    assert np.abs(shown - out.xy.numpy()).max() * S < 0.05
    assert np.abs(out.xy.numpy() - POINTS).max() * S > 3, "something moved"


def test_a_known_rotation_shift_and_scale():
    xy = torch.tensor([[[0.75, 0.5], [0.5, 0.75]]])
    visible = torch.ones(1, 2, dtype=torch.bool)
    settings = Augmentation(rotation_deg=90, scale=0.5, translate=0.1)
    draws = 2 * torch.rand((1, 13), generator=seeded(4))[0] - 1
    angle, factor = math.radians(90 * draws[1]), 1 + 0.5 * draws[2]
    out = augment(torch.zeros(1, 3, 8, 8), xy, visible, seeded(4), settings)
    centre = torch.tensor([0.5, 0.5]) + 0.1 * draws[3:5]
    right = centre + 0.25 * factor * torch.tensor([math.cos(angle), math.sin(angle)])
    down = centre + 0.25 * factor * torch.tensor([-math.sin(angle), math.cos(angle)])
    assert torch.allclose(out.xy[0], torch.stack([right, down]), atol=1e-6)


def test_a_mirrored_picture_is_the_mirrored_picture_and_sides_change():
    images, xy = torch.rand(4, 3, 16, 16, generator=seeded()), torch.rand(4, 3, 2, generator=seeded(1))
    visible = torch.tensor([[True, False, True]]).expand(4, 3)
    out = augment(images, xy, visible, seeded(), Augmentation(flip=1.0), SWAP)
    assert torch.allclose(out.images, images.flip(3), atol=1e-5)
    assert out.visible.tolist() == [[False, True, True]] * 4 and out.source.tolist() == [[1, 0, 2]] * 4
    assert torch.allclose(out.xy[:, 1, 0], 1 - xy[:, 0, 0]) and torch.allclose(out.xy[:, 1, 1], xy[:, 0, 1])
    assert (out.xy[:, 0] == 0).all(), "not visible: the sentinel"


def test_about_as_many_are_mirrored_as_asked():
    images, xy, visible = torch.zeros(2000, 3, 2, 2), torch.full((2000, 3, 2), 0.5), torch.ones(2000, 3, dtype=bool)
    for share in (0.0, 0.25, 1.0):
        out = augment(images, xy, visible, seeded(), Augmentation(flip=share, scale=0.1), SWAP)
        assert abs((out.source[:, 0] == 1).float().mean().item() - share) < (0.04 if 0 < share < 1 else 1e-9)


def test_the_heads_sides_are_each_others_mirror_in_space():
    pairs, places = head_flip(), acupoints.positions_mm()
    assert (pairs[pairs] == np.arange(acupoints.COUNT)).all()
    off = np.linalg.norm(places[pairs] * [-1, 1, 1] - places, axis=1)
    assert off.max() < 1.5, acupoints.NAMES[int(off.argmax())]
    for point in acupoints.ACUPOINTS:
        other = acupoints.ACUPOINTS[pairs[point.index]]
        assert {point.side, other.side} in ({"left", "right"}, {"mid"}) and point.meridian == other.meridian


def test_no_visible_point_leaves_and_hidden_ones_do_not_hold_back():
    xy = torch.rand(256, 10, 2, generator=seeded(3))
    visible = torch.rand(256, 10, generator=seeded(4)) < 0.6
    xy = xy * visible[..., None]
    wild = Augmentation(rotation_deg=180, scale=0.9, translate=1.0)
    out = augment(torch.zeros(256, 3, 4, 4), xy, visible, seeded(5), wild)
    assert ((out.xy >= -1e-4) & (out.xy <= 1 + 1e-4)).all()
    assert (out.xy[~visible] == 0).all() and torch.equal(out.visible, visible)
    assert (out.xy - xy).abs().amax((1, 2)).gt(0.01).float().mean() > 0.9, "weakened, not given up"
    free = augment(torch.zeros(256, 3, 4, 4), xy, torch.zeros_like(visible), seeded(5), wild)
    assert (free.xy == 0).all()


def test_a_point_that_lies_outside_already_may_stay_there():
    xy, visible = torch.tensor([[[1.008, 0.5]]]), torch.ones(1, 1, dtype=torch.bool)
    for seed in range(20):
        out = augment(torch.zeros(1, 3, 4, 4), xy, visible, seeded(seed), Augmentation(translate=0.2))
        assert out.xy.min() >= -0.0081 and out.xy.max() <= 1.0081


@pytest.mark.parametrize("fill", [0.0, 1.0])
def test_what_comes_in_from_outside_has_the_fill_colour(fill):
    images, visible = torch.full((8, 3, 32, 32), 0.5), torch.zeros(8, 1, dtype=torch.bool)
    out = augment(images, torch.zeros(8, 1, 2), visible, seeded(), Augmentation(rotation_deg=45, fill=fill))
    corners = out.images[:, :, 0, 0]
    assert (corners == fill).all(1).any() and ((corners - fill).abs() <= 0.5).all()
    assert torch.allclose(out.images[:, :, 16, 16], torch.tensor(0.5))


def test_off_is_untouched():
    images, xy, visible = torch.rand(2, 3, 8, 8), torch.rand(2, 5, 2), torch.ones(2, 5, dtype=torch.bool)
    out = augment(images, xy, visible, seeded(), Augmentation())
    assert out.images is images and out.xy is xy and out.visible is visible
    assert out.source.tolist() == [[0, 1, 2, 3, 4]] * 2


def test_the_seed_decides_and_one_setting_does_not_change_anothers_draw():
    images, xy, visible = torch.rand(4, 3, 32, 32), torch.rand(4, 3, 2), torch.ones(4, 3, dtype=torch.bool)
    first, again = (augment(images, xy, visible, seeded(1), EVERYTHING, SWAP) for _ in range(2))
    other = augment(images, xy, visible, seeded(2), EVERYTHING, SWAP)
    assert torch.equal(first.images, again.images) and torch.equal(first.xy, again.xy)
    assert not torch.equal(first.images, other.images) and not torch.equal(first.xy, other.xy)
    alone = augment(
        images, xy, visible, seeded(1), Augmentation(rotation_deg=20, scale=0.2, translate=0.1, flip=0.5), SWAP
    )
    assert torch.equal(alone.xy, first.xy), "light was off, the movement is the same"
    assert first.images.min() >= 0 and first.images.max() <= 1


def test_light_changes_have_their_known_answers():
    grey = torch.full((1, 3, 8, 8), 0.25)
    nothing = (torch.zeros(1, 1, 2), torch.zeros(1, 1, dtype=torch.bool))
    draws = (2 * torch.rand((1, 13), generator=seeded(6))[0] - 1)[5:]

    def lit(**settings: float) -> torch.Tensor:
        return augment(grey, *nothing, seeded(6), Augmentation(**settings)).images[0, :, 4, 4]

    assert torch.allclose(lit(brightness=0.2), 0.25 + 0.2 * draws[6].expand(3))
    assert torch.allclose(lit(contrast=0.5), torch.tensor(0.25)), "a picture of one grey has no contrast"
    assert torch.allclose(lit(gamma=1.0), 0.25 ** (2 ** draws[5].expand(3)))
    assert torch.allclose(lit(colour=0.3), 0.25 * (1 + 0.3 * draws[1:4]))
    assert torch.allclose(lit(blur=2.0), torch.tensor(0.25))
    noisy = augment(grey.expand(1, 3, 8, 8).repeat(1, 1, 16, 16), *nothing, seeded(6), Augmentation(noise=0.1)).images
    assert abs(noisy.std().item() - 0.1 * (draws[7].item() + 1) / 2) < 2e-3


def test_blur_is_scipys_gaussian():
    from scipy.ndimage import gaussian_filter

    images = torch.rand(3, 3, 40, 40, generator=seeded())
    nothing = (torch.zeros(3, 1, 2), torch.zeros(3, 1, dtype=torch.bool))
    sigma = torch.rand((3, 13), generator=seeded(2))[:, 5] * 2
    out = augment(images, *nothing, seeded(2), Augmentation(blur=2.0)).images
    for k in range(3):
        expected = gaussian_filter(images[k].double().numpy(), float(sigma[k]), mode="nearest", radius=6, axes=(1, 2))
        assert np.abs(out[k].numpy() - expected).max() < 1e-5


@pytest.mark.parametrize(
    ("wrong", "text"),
    [({"flip": 1.5}, "flip = 1.5"), ({"noise": -0.1}, "noise = -0.1"), ({"scale": 1}, "scale = 1"),
     ({"blur": float("nan")}, "blur = nan"), ({"fill": "white"}, "fill = 'white'")],
)  # fmt: skip
def test_wrong_settings_are_refused(wrong, text):
    with pytest.raises(ConfigError, match=text):
        Augmentation(**wrong)


def test_mirroring_needs_to_know_the_sides():
    with pytest.raises(ConfigError, match="which points change sides"):
        augment(
            torch.zeros(1, 3, 4, 4),
            torch.zeros(1, 1, 2),
            torch.zeros(1, 1, dtype=torch.bool),
            seeded(),
            Augmentation(flip=1),
        )


def test_a_trainers_low_precision_does_not_move_points():
    visible, points = torch.ones(32, 3, dtype=torch.bool), torch.from_numpy(POINTS).float()
    expected = augment(dots(POINTS), points, visible, seeded(), EVERYTHING, SWAP)
    with torch.autocast("cpu", torch.bfloat16):
        low = augment(dots(POINTS), points, visible, seeded(), EVERYTHING, SWAP)
    half = augment(dots(POINTS).half(), points, visible, seeded(), EVERYTHING, SWAP)
    assert torch.equal(low.xy, expected.xy) and torch.equal(half.xy, expected.xy) and half.images.dtype == torch.half


def test_pictures_that_are_not_square_are_refused():
    with pytest.raises(ConfigError, match="6 x 4 pixels"):
        augment(torch.zeros(1, 3, 4, 6), torch.zeros(1, 1, 2), torch.zeros(1, 1, dtype=bool), seeded(), Augmentation())
