"""tools/environment.py: what it makes, what it completes, and what it leaves alone."""

import importlib.util
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.support import ROOT

_SPEC = importlib.util.spec_from_file_location("environment", ROOT / "tools" / "environment.py")
assert _SPEC and _SPEC.loader
environment = importlib.util.module_from_spec(_SPEC)
sys.modules["environment"] = environment  # dataclasses look their module up
_SPEC.loader.exec_module(environment)


@pytest.fixture
def pips(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, list[str]]]:
    """Which installations were asked for; none is made, for there is no network in tests."""
    asked: list[tuple[Path, list[str]]] = []
    monkeypatch.setattr(environment, "_install", lambda folder, level, files, missing: asked.append((folder, missing)))
    return asked


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Environments are made without pip, which takes a tenth of the time."""
    builder = venv.EnvBuilder
    monkeypatch.setattr(environment.venv, "EnvBuilder", lambda **how: builder(**how | {"with_pip": False}))


def _made(folder: Path, **packages: str) -> Path:
    """An environment in which some packages of some versions seem to be installed."""
    venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    site = next((folder / "lib").glob("python*")) / "site-packages"
    for name, version in packages.items():
        info = site / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return folder


def _requirements(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    (folder / "pins.txt").write_text(text)
    monkeypatch.setattr(environment, "ROOT", folder)
    monkeypatch.setattr(environment, "LEVELS", {"core": ("pins.txt",)})


def test_pins_are_read_through_other_files_but_not_from_constraints(tmp_path: Path):
    (tmp_path / "core.txt").write_text("# a comment\nMarkup_Safe==3.0.4\n")
    (tmp_path / "gpu.txt").write_text("triton==3.7.1\n")
    (tmp_path / "all.txt").write_text("-r core.txt\n-c gpu.txt\ntorch==2.13.0\n")
    assert environment.read_pins([tmp_path / "all.txt"]) == {"markup-safe": "3.0.4", "torch": "2.13.0"}


def test_a_missing_environment_is_made_and_what_it_lacks_installed(tmp_path, monkeypatch, pips, bare):
    _requirements(monkeypatch, tmp_path, "alpha==1.0\n")
    environment.complete(tmp_path / ".venv", "core")
    assert pips == [(tmp_path / ".venv", ["alpha==1.0"])]
    version = subprocess.check_output([tmp_path / ".venv/bin/python", "-c", "import sys; print(sys.version_info[:2])"])
    assert version.decode().strip() == str(sys.version_info[:2])


@pytest.mark.parametrize(
    ("installed", "missing"),
    [
        ({"alpha": "1.0", "Beta_Two": "2.0"}, None),
        ({"alpha": "1.0", "Beta_Two": "2.0+cpu"}, None),
        ({"alpha": "1.1", "Beta_Two": "2.0"}, ["alpha==1.0"]),
        ({"alpha": "1.0"}, ["beta-two==2.0"]),
    ],
    ids=["complete", "a build of the same version", "another version", "cut off"],
)
def test_only_what_differs_from_the_pins_is_missing(tmp_path, monkeypatch, pips, installed, missing):
    _requirements(monkeypatch, tmp_path, "alpha==1.0\nbeta-two==2.0\n")
    environment.complete(_made(tmp_path / ".venv", **installed), "core")
    assert pips == ([(tmp_path / ".venv", missing)] if missing else [])


def test_a_link_is_used_where_it_is_complete_and_never_changed(tmp_path, monkeypatch, pips):
    _requirements(monkeypatch, tmp_path, "alpha==1.0\n")
    target = _made(tmp_path / "elsewhere", alpha="1.0")
    keep = target / "mine.txt"
    keep.write_text("mine")
    (tmp_path / ".venv").symlink_to(target)
    environment.complete(tmp_path / ".venv", "core", this_python=True)
    (tmp_path / "pins.txt").write_text("alpha==1.0\ngamma==3.0\n")
    with pytest.raises(
        environment.Refused, match=r"missing packages: gamma==3\.0.*pip install -r pins\.txt.*remove the link"
    ):
        environment.complete(tmp_path / ".venv", "core")
    assert keep.read_text() == "mine"
    assert not pips


def test_a_link_to_nothing_is_not_filled(tmp_path, monkeypatch, pips):
    _requirements(monkeypatch, tmp_path, "alpha==1.0\n")
    (tmp_path / ".venv").symlink_to(tmp_path / "nowhere")
    with pytest.raises(environment.Refused, match="no Python runs in it"):
        environment.complete(tmp_path / ".venv", "core")
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_that_is_no_environment_is_left_alone(tmp_path, monkeypatch, pips):
    _requirements(monkeypatch, tmp_path, "alpha==1.0\n")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "thesis.txt").write_text("years of work")
    with pytest.raises(environment.Refused, match="not a virtual environment"):
        environment.complete(tmp_path / ".venv", "core")
    assert (tmp_path / ".venv" / "thesis.txt").read_text() == "years of work"


def test_another_python_makes_it_again_only_when_it_was_asked_for(tmp_path, monkeypatch, pips, bare):
    _requirements(monkeypatch, tmp_path, "alpha==1.0\n")
    folder = _made(tmp_path / ".venv", alpha="1.0")
    real = environment.query
    other = environment.Interpreter((3, 12), "/opt/other-python", {"alpha": "1.0"})
    monkeypatch.setattr(environment, "query", lambda _: other)
    environment.complete(folder, "core")
    assert list(folder.rglob("alpha-1.0.dist-info")), "without PYTHON= the environment stays"
    answers = iter([other])
    monkeypatch.setattr(environment, "query", lambda place: next(answers, None) or real(place))
    environment.complete(folder, "core", this_python=True)
    assert not list(folder.rglob("alpha-1.0.dist-info"))
    assert pips == [(folder, ["alpha==1.0"])]


def test_an_environment_whose_python_no_longer_runs_is_made_again(tmp_path, monkeypatch, pips, bare):
    _requirements(monkeypatch, tmp_path, "")
    folder = _made(tmp_path / ".venv")
    for python in (folder / "bin").glob("python*"):
        python.unlink()
        python.symlink_to(tmp_path / "removed-python")
    environment.complete(folder, "core")
    assert environment.query(folder) is not None


def test_a_python_that_is_not_supported_is_named_with_what_is(tmp_path, monkeypatch, pips):
    _requirements(monkeypatch, tmp_path, "alpha==1.0\n")
    monkeypatch.setattr(environment.sys, "version_info", (3, 13, 0, "final", 0))
    with pytest.raises(environment.Refused, match=r"Python 3\.11 or 3\.12 is required, .* is 3\.13\.0"):
        environment.complete(tmp_path / ".venv", "core")
    assert not (tmp_path / ".venv").exists()


def test_failing_pip_is_an_error_of_one_line(tmp_path, monkeypatch, capsys):
    _requirements(monkeypatch, tmp_path, "alpha==1.0\n")
    folder = _made(tmp_path / ".venv")  # without pip: the call fails
    assert environment.main(["core", "--venv", str(folder)]) == 1
    assert "environment: pip failed" in capsys.readouterr().err


def test_make_asks_for_this_python_only_where_it_is_named():
    def command(*words: str) -> str:
        return subprocess.check_output(["make", "-n", "core", *words], cwd=ROOT, text=True)

    assert "--this-python" not in command()
    assert "python3.12 tools/environment.py" in command("PYTHON=python3.12")
    assert "--this-python" in command("PYTHON=python3.12")
