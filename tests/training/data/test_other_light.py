"""Another light: nothing moves, nothing is drawn that is not used, black becomes a background."""

import torch

from training.data.other_light import other_light


def pictures() -> torch.Tensor:
    images = torch.zeros(6, 3, 32, 32)
    images[:, :, 8:24, 8:24] = 0.4
    return images


def test_off_is_the_same_picture():
    images = pictures()
    assert torch.equal(other_light(images, torch.Generator().manual_seed(0), 0.0, 0.0), images)


def test_light_keeps_black_black_and_is_smooth():
    images = pictures()
    lit = other_light(images, torch.Generator().manual_seed(0), 1.0, 0.0)
    assert (lit[images == 0] == 0).all()
    inside = lit[:, :, 8:24, 8:24]
    assert (inside.std((2, 3)) > 0).all(), "no picture changed"
    gain = (inside / 0.4).clamp(min=1e-3).log()
    lit_fully = inside < 1
    steps = gain.diff(dim=3).abs()[(lit_fully[..., 1:] & lit_fully[..., :-1])]
    assert steps.max() < 0.35, "an edge where the original has none"
    assert lit.min() >= 0 and lit.max() <= 1


def test_background_replaces_black_alone():
    images = pictures()
    replaced = other_light(images, torch.Generator().manual_seed(0), 0.0, 1.0)
    assert torch.equal(replaced[:, :, 9:23, 9:23], images[:, :, 9:23, 9:23])
    corners = replaced[:, :, :4, :4]
    assert corners.mean() > 0.2 and len(corners.mean((1, 2, 3)).unique()) == len(images)


def test_probabilities_do_not_change_what_is_drawn():
    images = pictures()
    generators = [torch.Generator().manual_seed(3) for _ in range(2)]
    other_light(images, generators[0], 0.0, 0.0)
    other_light(images, generators[1], 1.0, 1.0)
    assert torch.equal(torch.rand(4, generator=generators[0]), torch.rand(4, generator=generators[1]))
