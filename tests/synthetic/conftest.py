"""Heads that several tests look at; building one takes a second."""

from dataclasses import replace

import pytest

from synthetic.head import Head, build_head
from synthetic.identity import BALD, SHAPE_DIMS, identity

SEED = 0


def _mean_man(hair: str) -> Head:
    """The male mean head, symmetric, with the given hair."""
    return build_head(replace(identity(SEED, 1), size="N", hair=hair, shape=(0.0,) * SHAPE_DIMS), SEED)


@pytest.fixture(scope="session")
def bald() -> Head:
    return _mean_man(BALD)


@pytest.fixture(scope="session")
def haired() -> Head:
    return _mean_man("HD")


@pytest.fixture(scope="session")
def person() -> Head:
    """Somebody with a shape of her own."""
    return build_head(identity(SEED, 4), SEED)
