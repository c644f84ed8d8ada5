"""The table of --check."""

import sys

import pytest

from controller.check_table import print_checks
from engines.base import Check

LONG = "https://huggingface.co/h94/IP-Adapter/resolve/main/models/ip-adapter_sd15.safetensors"
ROOTS = (
    "ACUSIM_ROOTS=data@ro=/a/rather/long/folder/with/the/data/set:out=/another/rather/long/folder/for/the/output/of/it"
)


@pytest.mark.parametrize("columns", ["80", "40", "200"])
def test_what_may_be_copied_stands_below_the_table_in_one_piece(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: str
):
    monkeypatch.setenv("COLUMNS", columns)
    server = "https://abcdefghijkl-8188.proxy.example.net/comfy"
    checks = [
        Check("ComfyUI", True, f"{server}, version 0.3.64"),
        Check(f"{server} ip_adapter", False, "[mine].safetensors is not on the server", f"put it there: {LONG}"),
        Check("transport", None, "upload and download: http://127.0.0.1:8188", f"start ComfyUI with {ROOTS} [to save]"),
        Check("queue", True, "no prompts of others", "not shown"),
    ]
    for terminal in (False, True):
        monkeypatch.setattr(sys.stdout, "isatty", lambda terminal=terminal: terminal, raising=False)
        print_checks(checks)
        table, _, below = capsys.readouterr().out.partition("\n\n")
        assert "[1]" in table and server not in table and "http://127.0.0.1:8188" in table
        assert "[mine].safetensors" in table.replace("\n", "")
        lines = below.splitlines()
        assert lines[0] == f"[1] {server}"
        assert f"  {server} ip_adapter: put it there: {LONG}" in lines
        assert f"  transport: start ComfyUI with {ROOTS} [to save]" in lines
        assert "not shown" not in below and len(lines) == 5


def test_a_good_preflight_is_a_table_alone(capsys: pytest.CaptureFixture[str]):
    print_checks([Check("plan", True, "8 images to create")])
    assert capsys.readouterr().out.split() == ["what", "found", "ok", "plan", "8", "images", "to", "create"]
