"""``--budget N``: which N images of a plan are created, evenly over the samples, or more where a model errs.

Every sample has a weight w, the error that is expected of it as a multiple of the mean (acusim.weak_spots; 1 without a
table), and an offset u in 0..1 that its ID and the batch's seed decide. Its images are due at (0 + u)/w, (1 + u)/w, …;
the N that are due first are created. So a sample of weight 2 gets twice as many as one of weight 1, to within one
image; a larger budget creates the same ones and more; and samples that are added or left out change no other's turn.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from acusim.errors import ConfigError, few
from acusim.files import sha256
from acusim.keypoints import AnySample
from acusim.layout import Sample
from acusim.seeds import seed_of
from acusim.weak_spots import LIGHT, OF_SAMPLES, WeakSpots, values_of
from controller.plan import Item
from engines.scenes import Scene, pick_scene

_SHARES = 2**63
"""Seeds are below it."""
_SHOWN = 3


@dataclass(frozen=True)
class Focus:
    """The table of a model's weak spots, and the samples' hair codes that mean bald."""

    spots: WeakSpots
    bald: frozenset[str]

    def values(self, sample: AnySample) -> dict[str, str]:
        """Attribute -> value of a sample of AcuSim."""
        assert isinstance(sample, Sample)
        return values_of(sample.id, sample.id.hair in self.bald)

    def weight(self, sample: AnySample) -> float:
        """Expected error of a sample's images, whatever their light, as a multiple of the mean."""
        return self.spots.weight(self.values(sample))

    def scene_weights(self, scenes: Iterable[Scene]) -> dict[str, float]:
        """Digest of a scene -> expected error under its light, as a multiple of the mean; empty if all are equal."""
        weights = {scene.sha256: self.spots.weight({LIGHT: scene.sha256}) for scene in scenes}
        return weights if len(set(weights.values())) > 1 else {}


def focus_of(path: Path, samples: Sequence[AnySample], bald: frozenset[str]) -> tuple[Focus, list[str]]:
    """The focus of a table, and notes on values of the samples that it does not have.

    Args:
        path: the table.
        samples: those that may be used.
        bald: hair codes that mean bald.

    Raises:
        ConfigError: the table cannot be read, or is of other data: it has none of the samples' values of an attribute.
    """
    focus = Focus(WeakSpots.read(path), bald)
    notes: list[str] = []
    if not samples:
        return focus, notes
    present = [focus.values(sample) for sample in samples]
    for name, unknown in focus.spots.unmeasured(present).items():
        known = focus.spots.spots.get(name, {})
        if len(unknown) == len({values[name] for values in present}):
            raise ConfigError(
                f"--focus {str(path)!r} is of other data: it has {name} {_listed(known) or 'not at all'}, the samples "
                f"have {_listed(unknown)}; measure the model on pictures like them with training evaluate --weak"
            )
        notes.append(f"--focus: {name} {_listed(unknown)} was not measured and counts as the mean")
    return focus, notes


def _listed(values: Iterable[str]) -> str:
    return few(list(values), _SHOWN)


def affordable(items: Sequence[Item], budget: int, seed: int, focus: Focus | None) -> list[Item]:
    """The items that a budget is spent on, in the given order.

    Args:
        items: all of the plan; those of one sample by ascending variant.
        budget: how many.
        seed: of the batch.
        focus: where to spend more; None is everywhere alike.
    """
    due: dict[str, float] = {}
    for item in items:
        offset = seed_of("budget", seed, item.sample.image) / _SHARES
        due[item.key] = (item.variant + offset) / (focus.weight(item.sample) if focus else 1.0)
    chosen = set(sorted(due, key=lambda key: (due[key], key))[:budget])
    return [item for item in items if item.key in chosen]


def scene_picker(scenes: tuple[Scene, ...], focus: Focus | None) -> Callable[[int], Scene]:
    """Seed of an image -> its scene: any is as likely, or each as likely as the error under its light is high."""
    weights = focus.scene_weights(scenes) if focus else {}
    if not weights:
        return lambda seed: pick_scene(scenes, seed)
    ordered = sorted(scenes, key=lambda scene: scene.sha256)
    ends = list(accumulate(weights[scene.sha256] for scene in ordered))

    def pick(seed: int) -> Scene:
        point = seed_of("focused scene", seed) / _SHARES * ends[-1]
        return ordered[min(bisect_right(ends, point), len(ordered) - 1)]

    return pick


def light_digest(scenes: tuple[Scene, ...], focus: Focus | None) -> str | None:
    """What a focus adds to a batch's identity: SHA-256 over the weights of the scenes; None if all are equal."""
    weights = focus.scene_weights(scenes) if focus else {}
    return sha256("\n".join(f"{name} {weights[name]!r}" for name in sorted(weights)).encode()) if weights else None


def spending(items: Sequence[Item], chosen: Sequence[Item], focus: Focus) -> list[str]:
    """For people: the values of each attribute that get the largest and the smallest share of their possible images."""
    lines: list[str] = []
    for name in OF_SAMPLES:
        possible, got = (Counter(focus.values(item.sample)[name] for item in some) for some in (items, chosen))
        if len(possible) > 1:
            shares = sorted(((got[value] / count, value) for value, count in possible.items()), reverse=True)
            shown = shares if len(shares) <= 2 * _SHOWN else [*shares[:_SHOWN], *shares[-_SHOWN:]]
            text = ", ".join(f"{value} {100 * share:.0f} %" for share, value in shown)
            lines.append(f"share of possible images by {name}: {text}")
    return lines
