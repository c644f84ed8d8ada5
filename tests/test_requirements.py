"""The requirement files: whole, pinned, and one with what pyproject.toml asks for."""

import tomllib
from importlib.metadata import requires, version

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support import ROOT

CORE, WHOLE, DEV, DOCS, CUDA, CLUSTER = (
    f"requirements{part}.txt" for part in ("-core", "", "-dev", "-docs", "-cuda", "-cluster")
)


def _pins(name: str) -> dict[str, Requirement]:
    """The requirements of a file and of those that it includes, by name."""
    found: dict[str, Requirement] = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("-r "):
            found |= _pins(line[3:])
        elif line and not line.startswith(("#", "-c ")):
            requirement = Requirement(line)
            assert canonicalize_name(requirement.name) not in found, f"{requirement.name} stands twice in {name}"
            found[canonicalize_name(requirement.name)] = requirement
    return found


def _needs(name: str, extras: set[str]) -> list[Requirement]:
    """What an installed package needs here."""
    environments = [{"extra": extra} for extra in extras] or [{"extra": ""}]
    needs = [Requirement(text) for text in requires(name) or ()]
    return [need for need in needs if not need.marker or any(need.marker.evaluate(env) for env in environments)]


@pytest.mark.parametrize("name", [CORE, WHOLE, CUDA, DEV, DOCS, CLUSTER])
def test_every_line_is_a_pin(name: str):
    for requirement in _pins(name).values():
        assert [spec.operator for spec in requirement.specifier] == ["=="], requirement


@pytest.mark.parametrize("names", [[CORE], [WHOLE], [WHOLE, DEV], [CLUSTER]], ids=str)
def test_every_package_that_a_package_needs_is_pinned_too(names: list[str]):
    pins = {key: pin for name in names for key, pin in _pins(name).items()}
    for name in pins:
        for need in _needs(name, set()):
            pin = pins.get(canonicalize_name(need.name))
            assert pin, f"{name} needs {need}, which {' and '.join(names)} do not pin"
            assert need.specifier.contains(next(iter(pin.specifier)).version), f"{name} needs {need}, pinned is {pin}"


@pytest.mark.parametrize("name", [WHOLE, DEV, CLUSTER])
def test_what_is_installed_is_what_is_pinned(name: str):
    for key, pin in _pins(name).items():
        assert pin.specifier.contains(version(key)), f"{key} {version(key)} is installed, {pin} is pinned"


def test_the_core_has_nothing_that_only_training_diffusion_or_the_page_needs():
    assert not {"torch", "diffusers", "transformers", "fastapi", "onnx", "tensorboard"} & set(_pins(CORE))


def test_pyproject_asks_for_what_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    lists = {"dependencies": (project["dependencies"], CORE)} | {
        key: (extras[key], CLUSTER if key == "cluster" else WHOLE) for key in extras
    }
    assert set(extras) == {"cluster", "diffusion", "training", "web", "all"}
    for place, (texts, name) in lists.items():
        for wanted in map(Requirement, texts):
            if wanted.name == project["name"]:
                assert wanted.extras <= set(extras), place
                continue
            pin = _pins(name)[canonicalize_name(wanted.name)]
            pinned = next(iter(pin.specifier)).version
            assert wanted.specifier.contains(pinned), f"{place} asks for {wanted}, {name} pins {pinned}"
