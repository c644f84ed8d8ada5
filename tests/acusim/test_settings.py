"""Settings: what is accepted, what every refusal says, and that files give back what was written."""

import pickle
import tomllib
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field

from acusim import settings_file
from acusim.errors import ConfigError
from acusim.settings import (
    Settings,
    assignment,
    bounds_of,
    choices_of,
    extra_of,
    field_of,
    parsed,
    range_text,
    toml_lines,
)


class Crop(Settings):
    WHAT = "crop setting"

    margin: float = Field(default=0.1, ge=0, le=1)
    """Share of the side."""
    names: tuple[str, ...] = ()


class Demo(Settings):
    """One field of every kind."""

    WHAT = "demo setting"

    steps: int = Field(default=24, ge=1, le=200)
    """Sampler steps (paper: 20-32)."""
    strength: float = Field(default=0.5, ge=0, le=1)
    least: int = Field(default=1, ge=1)
    most: float = Field(default=1.0, le=2.5)
    any_number: float = 0.0
    sampler: Literal["dpmpp_2m", "euler"] = "dpmpp_2m"
    side: Literal[64, 128] = 64
    flip: bool = False
    title: str = ""
    weights: Path | None = None
    seeds: tuple[int, ...] = ()
    kinds: tuple[Literal["head", "hand"], ...] = ()
    folders: tuple[Path, ...] = ()
    limit: int | None = Field(default=None, ge=1, le=10_000_000, json_schema_extra={"metavar": "N"})
    crop: Crop = Crop()


class Needed(Settings):
    root: Path


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, "steps = 0 is outside 1..200"),
        ({"steps": 201}, "steps = 201 is outside 1..200"),
        ({"steps": 24.0}, "steps = 24.0 is not of type int"),
        ({"steps": "24"}, "steps = '24' is not of type int"),
        ({"steps": True}, "steps = True is not of type int"),
        ({"steps": None}, "steps = None is not of type int"),
        ({"strength": 1.5}, "strength = 1.5 is outside 0..1"),
        ({"strength": float("nan")}, "strength = nan is outside 0..1"),
        ({"strength": float("-inf")}, "strength = -inf is outside 0..1"),
        ({"strength": True}, "strength = True is not of type float"),
        ({"least": 0}, "least = 0 is not at least 1"),
        ({"most": 3.0}, "most = 3.0 is not at most 2.5"),
        ({"most": float("nan")}, "most = nan is not at most 2.5"),
        ({"limit": 10_000_001}, "limit = 10000001 is outside 1..10000000"),
        ({"limit": "many"}, "limit = 'many' is not of type int"),
        ({"sampler": "eular"}, "sampler = 'eular' is not one of dpmpp_2m, euler"),
        ({"side": 65}, "side = 65 is not one of 64, 128"),
        ({"side": "64"}, "side = '64' is not one of 64, 128"),
        ({"flip": 1}, "flip = 1 is not of type bool"),
        ({"title": 3}, "title = 3 is not of type str"),
        ({"title": "x" * 200, "steps": -1}, "steps = -1 is outside 1..200"),
        ({"title": ["x" * 200]}, "title = ['" + "x" * 78 + "… (204 characters) is not of type str"),
        ({"weights": 3}, "weights = 3 is not of type Path"),
        ({"seeds": 3}, "seeds = 3 is not of type tuple"),
        ({"seeds": [1, "2"]}, "seeds.1 = '2' is not of type int"),
        ({"kinds": ["head", "foot"]}, "kinds.1 = 'foot' is not one of head, hand"),
        ({"crop": 3}, "crop = 3 is not of type Crop"),
        ({"crop": {"margin": 2}}, "margin = 2 is outside 0..1"),
        (
            {"crop": {"margn": 0.2}},
            "'margn' is not a crop setting; there are margin, names; did you mean 'margin'?",
        ),
    ],
)
def test_a_refusal_names_the_setting_its_value_and_what_is_allowed(values: dict[str, Any], message: str):
    with pytest.raises(ConfigError) as error:
        Demo(**values)
    assert str(error.value) == message


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(
        ConfigError, match=r"^'stepps' is not a demo setting; there are steps, .*; did you mean 'steps'"
    ):
        Demo(stepps=3)
    with pytest.raises(ConfigError, match=r"'zzz' is not a demo setting; there are .*crop$"):
        Demo(zzz=3)
    with pytest.raises(ConfigError, match="^root is missing$"):
        Needed()


def test_accepted_values_have_their_fields_type():
    demo = Demo(strength=1, any_number=3, seeds=[1, 2], folders=["a"], weights="w.pt", crop={"margin": 0})
    assert type(demo.strength) is float and demo.any_number == 3.0
    assert demo.seeds == (1, 2) and demo.folders == (Path("a"),) and demo.weights == Path("w.pt")
    assert demo.crop == Crop(margin=0.0) and Demo(side=128).side == 128


def test_settings_do_not_change_and_copies_are_checked():
    demo = Demo()
    with pytest.raises(ValueError, match="frozen"):
        demo.steps = 3  # type: ignore[misc]
    assert demo.changed(steps=3) == Demo(steps=3) and demo.steps == 24
    with pytest.raises(ConfigError, match="steps = 0 is outside"):
        demo.changed(steps=0)
    assert hash(Demo(steps=3)) == hash(Demo(steps=3)) and Demo() != Demo(steps=3)


def test_settings_survive_pickling():
    demo = Demo(steps=3, seeds=(1,), weights=Path("w"), crop=Crop(names=("a",)))
    assert pickle.loads(pickle.dumps(demo)) == demo


TEXTS = ('say "hi"', "back\\slash", "línea\nzwei\t三", "#no comment", "'", "del\x7f", "nul\x01", "😀", "")


@pytest.mark.parametrize("text", TEXTS)
def test_texts_survive_a_file(text: str, tmp_path: Path):
    demo = Demo(title=text, weights=Path("a b") / "c.pt", crop=Crop(names=(text, "b")))
    path = tmp_path / "demo.toml"
    path.write_text(demo.to_toml(), encoding="utf-8")
    assert Demo.from_toml(path) == demo


@pytest.mark.parametrize("number", [0.0, 1e-9, 1e22, -2.5, 0.1 + 0.2, float("inf"), float("-inf")])
def test_numbers_survive_a_file(number: float, tmp_path: Path):
    demo = Demo(any_number=number, limit=3, seeds=(1, -2), kinds=("hand",), folders=(Path("x"),), flip=True)
    path = tmp_path / "demo.toml"
    path.write_text(demo.to_toml(), encoding="utf-8")
    assert Demo.from_toml(path) == demo
    assert Demo.from_toml(None) == Demo()


def test_tables_are_nested_and_keys_are_quoted_where_they_must_be():
    values = {"a": {"b": {"c": 1}, "d": 2}, "e f": {"ü": True}, "left.out": None, "z": "last"}
    text = toml_lines(values)
    assert tomllib.loads(text) == {"a": {"b": {"c": 1}, "d": 2}, "e f": {"ü": True}, "z": "last"}
    assert text == 'z = "last"\n\n[a]\nd = 2\n\n[a.b]\nc = 1\n\n["e f"]\n"ü" = true\n'


def test_a_file_that_is_wrong_is_named_with_the_key(tmp_path: Path):
    path = tmp_path / "demo.toml"
    for text, message in (
        ("steps = 0", "steps = 0 is outside 1..200"),
        ("[crop]\nmargin = 7", "margin = 7 is outside 0..1"),
        ("stps = 0", "did you mean 'steps'?"),
        ("steps = ", "cannot be read as TOML"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError) as error:
            Demo.from_toml(path)
        assert f"demo setting {str(path)!r}" in str(error.value) and message in str(error.value)
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        Demo.from_toml(tmp_path / "missing.toml")
    with pytest.raises(ConfigError, match="cannot be read: not a regular file"):
        Demo.from_toml(Path("/dev/zero"))
    path.write_bytes(bytes(settings_file.MAX_BYTES + 1))
    with pytest.raises(ConfigError, match="bytes, at most 16777216 are read"):
        Demo.from_toml(path)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("steps", "28", 28),
        ("strength", "1e-3", 0.001),
        ("flip", "true", True),
        ("flip", "false", False),
        ("sampler", "euler", "euler"),
        ("side", "128", 128),
        ("title", "a=b", "a=b"),
        ("weights", "x/y", Path("x/y")),
        ("limit", "5", 5),
        ("seeds", "1, 2,3", (1, 2, 3)),
        ("seeds", "", ()),
        ("kinds", "head,hand", ("head", "hand")),
    ],
)
def test_a_text_becomes_a_value(name: str, text: str, value: object):
    found = parsed(Demo, name, text)
    assert found == value and type(found) is type(value)
    assert getattr(Demo(**{name: found}), name) == value


def test_a_text_that_is_no_value_is_refused():
    for name, text, message in (
        ("steps", "2.5", "--set steps=2.5: not a value of type int"),
        ("strength", "much", "--set strength=much: not a value of type float"),
        ("flip", "yes", "--set flip=yes: write true or false"),
        ("seeds", "1,x", "--set seeds=x: not a value of type int"),
    ):
        with pytest.raises(ConfigError) as error:
            parsed(Demo, name, text)
        assert str(error.value) == message
    with pytest.raises(ConfigError, match="did you mean 'steps'"):
        parsed(Demo, "step", "3")
    with pytest.raises(ConfigError, match="side = '65' is not one of 64, 128"):
        Demo(side=parsed(Demo, "side", "65"))


def test_an_assignment_has_a_name_and_a_value():
    assert assignment("steps = 28") == ("steps", "28") and assignment("title=a=b") == ("title", "a=b")
    with pytest.raises(ConfigError, match="--gate 'steps' is not of the form name=value, such as steps=28"):
        assignment("steps", "--gate")


def test_what_a_field_allows():
    fields = Demo.model_fields
    assert bounds_of(fields["steps"]) == (1, 200) and bounds_of(fields["title"]) == (None, None)
    assert range_text(fields["strength"]) == "0..1" and range_text(fields["limit"]) == "1..10000000"
    assert range_text(fields["least"]) == "at least 1" and range_text(fields["most"]) == "at most 2.5"
    assert range_text(fields["title"]) == ""
    assert choices_of(fields["side"]) == (64, 128) and choices_of(fields["kinds"]) == ("head", "hand")
    assert choices_of(fields["title"]) == ()
    assert extra_of(fields["limit"], "metavar") == "N" and extra_of(fields["steps"], "metavar") is None
    assert field_of(Demo, "steps").description == "Sampler steps (paper: 20-32)."
    assert list(Demo().as_dict()["crop"]) == ["margin", "names"]
