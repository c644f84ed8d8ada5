"""Who is in the picture: the parameters of one invented person, drawn from a seed and a number.

An identity depends on (seed, index) alone, never on how many others there are, so a data set can grow.
"""

import hashlib
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np

from acusim.sample_id import SampleId

BALD = "HB"
"""This generator's code for a bald head. AcuSim's own is not public."""
HAIR_CODES = {
    "HA": "long, over the shoulders",
    "HB": "bald",
    "HC": "bob, to the chin",
    "HD": "short, brushed up",
    "HE": "up-do with a bun",
    "HF": "short with a straight fringe",
    "HG": "buzz cut",
}
_HAIR_CYCLE = {"F": ("HA", "HC", "HE", "HF", "HG", "HD"), "M": ("HD", "HF", "HG", "HD", "HA", "HG")}
_SIZE_CYCLE = ("N", "F", "S")
_SYLLABLES = (
    ("B", "Br", "D", "Dr", "F", "Fl", "G", "H", "J", "K", "Kl", "L", "M", "N", "P", "R", "S", "St", "T", "Tr", "V"),
    ("a", "e", "i", "o", "u", "ai", "ea", "ia"),
    ("l", "n", "r", "s", "v", "m", "d", "th", "nn", "ll", "lr", "st", "b", "k"),
    ("an", "en", "in", "on", "a", "ia", "or", "el", "is", "ette", "ara", "ine", "us", "ey"),
)
"""A name is one of each row."""
_GOLDEN = 0.6180339887498949
SHAPE_DIMS = 16

_HAIR_COLOURS = {
    "black": (0.012, 0.011, 0.012),
    "brown": (0.045, 0.024, 0.014),
    "chestnut": (0.085, 0.036, 0.018),
    "blond": (0.36, 0.24, 0.115),
    "grey": (0.22, 0.22, 0.225),
}
_IRIS_COLOURS = {
    "brown": (0.10, 0.045, 0.02),
    "dark": (0.035, 0.018, 0.012),
    "blue": (0.10, 0.19, 0.28),
    "green": (0.10, 0.16, 0.08),
}
_SHIRT_COLOURS = {
    "black": (0.006, 0.006, 0.007),
    "charcoal": (0.03, 0.03, 0.033),
    "navy": (0.012, 0.018, 0.045),
    "bottle": (0.012, 0.035, 0.022),
    "wine": (0.06, 0.010, 0.016),
}


@dataclass(frozen=True)
class Identity:
    """Everything that decides how a person looks."""

    index: int
    """Number in the data set, from 0."""
    gender: str
    """F or M."""
    name: str
    """Invented, one word, unique in the data set."""
    size: str
    """Body size F fat, N normal, S slim."""
    hair: str
    """One of HAIR_CODES."""
    eye: str
    """O open, C closed."""
    tone: float
    """Skin, 0 lightest to 1 darkest."""
    hair_colour: str
    iris: str
    shirt: str
    beard: float
    """0 shaven to 1 stubble."""
    lips: float
    """Strength of the lips' colour, 0..1."""
    shape: tuple[float, ...]
    """SHAPE_DIMS coefficients of the face's shape fields, roughly standard normal."""

    @property
    def bald(self) -> bool:
        return self.hair == BALD

    @property
    def hair_rgb(self) -> tuple[float, float, float]:
        """Linear RGB."""
        return _HAIR_COLOURS[self.hair_colour]

    @property
    def iris_rgb(self) -> tuple[float, float, float]:
        """Linear RGB."""
        return _IRIS_COLOURS[self.iris]

    @property
    def shirt_rgb(self) -> tuple[float, float, float]:
        """Linear RGB."""
        return _SHIRT_COLOURS[self.shirt]

    def sample_id(self, frame: int) -> SampleId:
        """The sample ID of one view."""
        return SampleId(self.gender, self.name, self.size, self.hair, self.eye, frame)

    def describe(self) -> dict[str, Any]:
        """The parameters as plain values, for provenance."""
        return asdict(self) | {"shape": [round(value, 4) for value in self.shape]}


def random_for(*key: object) -> np.random.Generator:
    """A generator that depends on the key's text alone, the same on every machine."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))


_names_of_seed: dict[int, dict[str, None]] = {}


def _name(seed: int, index: int) -> str:
    """The index-th name of a seed; all names of a seed differ, and none depends on how many there are."""
    names = _names_of_seed.setdefault(seed, {})
    while len(names) <= index:
        count, attempt = len(names), 0
        while len(names) == count:
            rng = random_for("name", seed, count, attempt)
            name = "".join(parts[int(rng.integers(len(parts)))] for parts in _SYLLABLES)
            # Past some tries the syllables are nearly used up: longer names always remain.
            names.setdefault(name + "na" * (attempt // 50))
            attempt += 1
    return next(islice(names, index, None))


def identity(seed: int, index: int) -> Identity:
    """The index-th person of a seed.

    Genders alternate; the third and fourth of every eight are bald, so the first four are a haired woman, a
    haired man, a bald woman and a bald man. Sizes, hairstyles and closed eyes cycle; the rest is drawn.
    """
    rng = random_for("identity", seed, index)
    gender = "FM"[index % 2]
    group, place = divmod(index, 8)
    haired = group * 3 + (place // 2 if place < 2 else place // 2 - 1)
    cycle = _HAIR_CYCLE[gender]
    tone = (0.12 + index * _GOLDEN) % 1.0
    light_enough = tone < 0.45
    colours = ("black", "brown", "chestnut", "blond", "grey") if light_enough else ("black", "black", "brown", "grey")
    shape = np.clip(rng.standard_normal(SHAPE_DIMS), -2.0, 2.0)
    return Identity(
        index=index,
        gender=gender,
        name=_name(seed, index),
        size=_SIZE_CYCLE[(index // 2 + index % 2) % 3],
        hair=BALD if place in (2, 3) else cycle[haired % len(cycle)],
        eye="C" if index % 5 == 3 else "O",
        tone=round(tone, 6),
        hair_colour=colours[int(rng.integers(len(colours)))],
        iris=("brown", "dark", "blue", "green")[int(rng.integers(4 if light_enough else 2))],
        shirt=list(_SHIRT_COLOURS)[int(rng.integers(len(_SHIRT_COLOURS)))],
        beard=round(float(rng.uniform(0, 1)), 4) if gender == "M" else 0.0,
        lips=round(float(rng.uniform(0.2, 0.8)), 4),
        shape=tuple(float(value) for value in shape),
    )


def identities(seed: int, count: int) -> list[Identity]:
    """The first persons of a seed."""
    return [identity(seed, index) for index in range(count)]
