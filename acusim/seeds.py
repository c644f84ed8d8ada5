"""Seeds that depend on what an image is, never on the order of work."""

import hashlib

import numpy as np

from acusim.sample_id import PictureId, SampleId


def derive_seed(base: int, sample_id: SampleId | PictureId, variant: int, attempt: int) -> int:
    """The seed of one image, 0 <= seed < 2**63."""
    return seed_of(base, sample_id, variant, attempt)


def seed_of(*parts: object) -> int:
    """A seed that depends only on some words and numbers, 0 <= seed < 2**63."""
    return int.from_bytes(hashlib.sha256("\n".join(map(str, parts)).encode()).digest()[:8], "big") >> 1


def generator_of(text: str) -> np.random.Generator:
    """PCG64 that depends only on a text, the same on every machine."""
    digest = hashlib.sha256(text.encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
