"""``--select``: which samples of a dataset are used."""

import unicodedata
from dataclasses import dataclass

from acusim.errors import ConfigError
from acusim.rig import parse_frames
from acusim.sample_id import EYES, GENDERS, SIZES, SampleId

_KEYS = ("gender", "name", "size", "hair", "eye", "frame", "split")
_NO_EYE_STATE = "-"
_ALLOWED = {"gender": tuple(GENDERS), "size": tuple(SIZES), "eye": (*EYES, _NO_EYE_STATE)}


@dataclass(frozen=True, slots=True)
class Selection:
    """Conditions that a sample must meet, all of them; an absent key allows everything."""

    values: dict[str, frozenset[str]]
    frames: frozenset[int] | None

    def __call__(self, sample_id: SampleId, split: str) -> bool:
        """Whether a sample is selected."""
        if self.frames is not None and sample_id.frame not in self.frames:
            return False
        for key, allowed in self.values.items():
            value = split if key == "split" else getattr(sample_id, key) or _NO_EYE_STATE
            if value not in allowed:
                return False
        return True


def parse_selection(text: str | None) -> Selection:
    """Reads ``gender=F,hair=HA,HC,frame=1-36,73``: conditions that must all hold, each with one or more values.

    Raises:
        ConfigError: an unknown key or value; names it and what is allowed.
    """
    lists: dict[str, list[str]] = {}
    key = ""
    for part in (text or "").split(","):
        if not part.strip():
            if text and text.strip():
                raise ConfigError(f"--select {text!r} has an empty condition")
            continue
        name, equals, value = part.partition("=")
        if equals:
            key = name.strip()
            if key not in _KEYS:
                raise ConfigError(f"--select: {key!r} is not one of {', '.join(_KEYS)}")
            if key in lists:
                raise ConfigError(f"--select names {key} twice; write {key}=A,B")
            lists[key] = []
        elif not key:
            raise ConfigError(f"--select {text!r} is not of the form gender=F,hair=HA,HC,frame=1-36")
        else:
            value = name
        value = value.strip()
        if not value or (key in _ALLOWED and value not in _ALLOWED[key]):
            allowed = f"; allowed are {', '.join(_ALLOWED[key])}" if key in _ALLOWED else ""
            raise ConfigError(f"--select: {key} = {value!r} is not valid{allowed}")
        lists[key].append(unicodedata.normalize("NFC", value))
    frames = frozenset(parse_frames(",".join(lists.pop("frame")))) if "frame" in lists else None
    return Selection({name: frozenset(values) for name, values in lists.items()}, frames)
