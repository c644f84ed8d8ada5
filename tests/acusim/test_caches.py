"""Caches are where they were: one folder below the user's own."""

from pathlib import Path

import pytest

from acusim.caches import cache_path
from acusim.errors import ConfigError


def test_caches_follow_the_variable_and_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert cache_path("images") == tmp_path / "caches/acusim-augment"
    assert cache_path("model_hashes") == tmp_path / "caches/acusim-augment/weights.json"
    assert cache_path("first_downloads") == tmp_path / "caches/acusim-augment/first_downloads.json"
    for variable in ("", "not/absolute"):
        monkeypatch.setenv("XDG_CACHE_HOME", variable)
        monkeypatch.setenv("HOME", str(tmp_path))
        assert cache_path("images") == tmp_path / ".cache/acusim-augment"
    assert not list(tmp_path.iterdir()), "nothing is created"


def test_without_a_home_folder_there_is_no_cache(monkeypatch: pytest.MonkeyPatch):
    def homeless(*_: object, **__: object) -> Path:
        raise RuntimeError("set an absolute HOME")

    monkeypatch.setattr("acusim.caches.user_cache_path", homeless)
    with pytest.raises(ConfigError, match="no folder for caches: set an absolute HOME"):
        cache_path("images")
