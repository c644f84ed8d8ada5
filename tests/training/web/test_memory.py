"""The largest pictures: within the memory that docs/guide/web.md states, and given back."""

import re
import sys

import pytest

from benchmarks.web_memory import LEFT_MIB, MOST_MIB, measure, rgba16
from tests.support import ROOT
from training import hardware


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_three_of_the_largest_pictures_at_once():
    memory = measure(rgba16(), 3, "recognise")
    assert memory.peak - memory.idle > 192  # the pixels of one alone: else nothing was measured
    assert memory.peak - memory.idle < MOST_MIB["recognise"]
    assert memory.after - memory.idle < LEFT_MIB


def test_the_bounds_are_those_of_the_documentation():
    text = " ".join((ROOT / "docs/guide/web.md").read_text(encoding="utf-8").split())
    stated = re.search(
        r"at most (\d+) MiB for points, (\d+) MiB for a drawn picture.*? to within (\d+) MiB of idle", text
    )
    assert stated and tuple(map(int, stated.groups())) == (MOST_MIB["recognise"], MOST_MIB["picture"], LEFT_MIB)


def test_the_server_does_not_keep_what_training_keeps(monkeypatch: pytest.MonkeyPatch):
    kept: list[bool] = []
    monkeypatch.setattr(hardware, "keep_memory", lambda: kept.append(True))
    hardware.Hardware("cpu", keep=False)
    assert kept == []
    hardware.Hardware("cpu")
    assert kept == [True]
