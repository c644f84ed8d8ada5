"""Prompt sets: defined in TOML, chosen by the sample ID and by whether the head is bald."""

import json
import string
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from acusim.errors import ConfigError
from acusim.files import read_regular, sha256
from acusim.sample_id import PictureId, SampleId
from acusim.settings_file import MAX_BYTES
from acusim.text_files import toml_of

ACUSIM_PROMPTS, KEYPOINT_PROMPTS = "default.toml", "keypoints.toml"
"""Shipped files: the four sets of AcuSim, and the one of other data sets of keypoints."""
_PLACEHOLDERS = ("size", "eyes", "hair")
_CONDITIONS: dict[str, type] = {"gender": str, "bald": bool, "size": str, "hair": str, "eye": str}


@dataclass(frozen=True, slots=True)
class PromptSet:
    """One positive / negative pair and the samples it applies to."""

    name: str
    positive: tuple[str, ...]
    """One or more phrasings."""
    negative: str
    conditions: dict[str, str | bool] = field(default_factory=dict)

    def matches(self, sample_id: SampleId | PictureId, bald: bool) -> bool:
        """Whether all conditions hold; of other data sets than AcuSim nothing is known that could meet one."""
        if isinstance(sample_id, PictureId):
            return not self.conditions
        return all((bald if k == "bald" else getattr(sample_id, k)) == v for k, v in self.conditions.items())


@dataclass(frozen=True, slots=True)
class PromptSets:
    """All sets in the order in which they are tried, and the words that replace placeholders."""

    sets: tuple[PromptSet, ...]
    words: dict[str, dict[str, str]]

    def choose(self, sample_id: SampleId | PictureId, bald: bool) -> PromptSet:
        """The first set whose conditions hold.

        Raises:
            ConfigError: none does.
        """
        for prompt_set in self.sets:
            if prompt_set.matches(sample_id, bald):
                return prompt_set
        raise ConfigError(f"no prompt set matches {sample_id} (bald: {bald}); add one without conditions")

    def texts(self, prompt_set: PromptSet, sample_id: SampleId | PictureId, seed: int) -> tuple[str, str]:
        """Positive and negative text of one image: placeholders replaced, phrasing chosen by the seed."""
        codes: dict[str, str] = {}
        if isinstance(sample_id, SampleId):
            codes = {"size": sample_id.size, "eyes": sample_id.eye or "", "hair": sample_id.hair}
        filled = {name: self.words.get(name, {}).get(codes.get(name, ""), "") for name in _PLACEHOLDERS}
        positive = prompt_set.positive[seed % len(prompt_set.positive)]
        return _fill(positive, filled), _fill(prompt_set.negative, filled)

    @property
    def digest(self) -> str:
        """SHA-256 over everything that determines a text."""
        content = [self.words, [[s.name, s.positive, s.negative, s.conditions] for s in self.sets]]
        return sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode())


def _fill(text: str, words: dict[str, str]) -> str:
    parts = (" ".join(part.split()) for part in text.format_map(words).split(","))
    return ", ".join(part for part in parts if part)


def load_prompt_sets(path: Path | None = None, shipped_file: str = ACUSIM_PROMPTS) -> PromptSets:
    """The shipped sets, preceded by those of a user's file, if any.

    Args:
        path: the user's file.
        shipped_file: ACUSIM_PROMPTS or KEYPOINT_PROMPTS.

    Raises:
        ConfigError: the file is unreadable or not in the format; names the set and the mistake.
    """
    data = resources.files("acusim").joinpath(f"prompts/{shipped_file}").read_bytes()
    shipped = _parse(data, f"prompts/{shipped_file}")
    if path is None:
        return shipped
    try:
        own = _parse(read_regular(path, MAX_BYTES), str(path))
    except OSError as error:
        raise ConfigError(f"prompt file {str(path)!r} cannot be read: {error.strerror or error}") from None
    names = {prompt_set.name for prompt_set in own.sets}
    words = {kind: {**shipped.words.get(kind, {}), **own.words.get(kind, {})} for kind in _PLACEHOLDERS}
    return PromptSets((*own.sets, *(s for s in shipped.sets if s.name not in names)), words)


def _parse(data: bytes, source: str) -> PromptSets:
    def wrong(reason: str) -> ConfigError:
        return ConfigError(f"prompt file {source!r}: {reason}")

    try:
        document = toml_of(data)
    except ValueError as error:
        raise wrong(f"not TOML: {error}") from None
    for key in document:
        if key not in ("words", "set"):
            raise wrong(f"{key!r} is not one of words, set")
    words = document.get("words", {})
    if not isinstance(words, dict) or not all(isinstance(table, dict) for table in words.values()):
        raise wrong("words does not consist of tables such as [words.size]")
    for kind, table in words.items():
        if kind not in _PLACEHOLDERS:
            raise wrong(f"words.{kind} is not one of {', '.join(_PLACEHOLDERS)}")
        if not all(isinstance(word, str) for word in table.values()):
            raise wrong(f"words.{kind} holds a value that is not a text")
    sets = document.get("set", [])
    if not isinstance(sets, list):
        raise wrong("write each set as [[set]], with two brackets")
    parsed = tuple(_parse_set(entry, wrong) for entry in sets)
    if len({prompt_set.name for prompt_set in parsed}) < len(parsed):
        raise wrong("two sets have the same name")
    return PromptSets(parsed, {kind: words.get(kind, {}) for kind in _PLACEHOLDERS})


def _parse_set(entry: Any, wrong: Any) -> PromptSet:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not entry["name"]:
        raise wrong("a set has no name")
    name = entry["name"]
    conditions: dict[str, str | bool] = {}
    for key, value in entry.items():
        if key in _CONDITIONS:
            if not isinstance(value, _CONDITIONS[key]):
                raise wrong(f"set {name!r}: {key} = {value!r} is not of type {_CONDITIONS[key].__name__}")
            conditions[key] = value
        elif key not in ("name", "positive", "negative"):
            allowed = ", ".join(("name", "positive", "negative", *_CONDITIONS))
            raise wrong(f"set {name!r}: {key!r} is not one of {allowed}")
    positive = entry.get("positive")
    phrasings = [positive] if isinstance(positive, str) else positive
    negative = entry.get("negative", "")
    if not isinstance(phrasings, list) or not phrasings or not all(isinstance(p, str) and p for p in phrasings):
        raise wrong(f"set {name!r}: positive must be a text or a list of texts")
    if not isinstance(negative, str):
        raise wrong(f"set {name!r}: negative must be a text")
    for text in (*phrasings, negative):
        _check_placeholders(text, name, wrong)
    return PromptSet(name, tuple(phrasings), negative, conditions)


def _check_placeholders(text: str, name: str, wrong: Any) -> None:
    try:
        fields = list(string.Formatter().parse(text))
    except ValueError as error:
        raise wrong(f"set {name!r}: {error} in {text!r}") from None
    for _, placeholder, form, conversion in fields:
        if placeholder is not None and (placeholder not in _PLACEHOLDERS or form or conversion):
            allowed = ", ".join(f"{{{p}}}" for p in _PLACEHOLDERS)
            raise wrong(f"set {name!r}: {{{placeholder}}} is not one of {allowed}")
