"""Which acupoints share a branch."""

import numpy as np
import pytest

from acusim import acupoints
from training.models.grouping import GROUPINGS, make_groups

MERIDIAN_SIZES = (10, 20, 12, 22, 18, 42, 31, 2, 17)


@pytest.mark.parametrize("grouping", GROUPINGS)
def test_every_acupoint_is_in_one_branch(grouping):
    groups = make_groups(grouping, 3)
    assert sorted(np.concatenate(groups.members)) == list(range(174))
    assert (np.concatenate(groups.members)[groups.order] == np.arange(174)).all()
    for branch, member in enumerate(groups.members):
        assert (groups.branch_of[member] == branch).all()


def test_the_sizes_are_those_of_the_ablations():
    assert make_groups("meridians").sizes == MERIDIAN_SIZES
    assert make_groups("random").sizes == MERIDIAN_SIZES
    assert sorted(make_groups("balanced").sizes) == [19] * 6 + [20] * 3
    assert make_groups("unified").sizes == (174,)


def test_meridians_hold_their_own_points_and_random_groups_do_not():
    for member, name in zip(make_groups("meridians").members, acupoints.MERIDIANS, strict=True):
        assert {acupoints.ACUPOINTS[index].meridian for index in member} == {name}
    assert any(len({acupoints.ACUPOINTS[i].meridian for i in member}) > 1 for member in make_groups("random").members)


def test_the_seed_draws_the_random_groups():
    first, again, other = (make_groups("random", seed).members[0] for seed in (1, 1, 2))
    assert (first == again).all() and not (first == other).all()
