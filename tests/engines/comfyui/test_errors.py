"""Errors from what a server sends."""

import pytest

from acusim.errors import EngineError
from engines.comfyui import errors
from tests.engines.comfyui.wire import recorded


def test_words_of_a_server_are_cut_and_printable():
    assert errors.safe_text("a\n  b\x1b[31m") == "a b\\x1b[31m"
    assert errors.safe_text("x" * 700) == "x" * 600 + "…"


def test_the_recorded_error_becomes_words():
    details = recorded("run")["error"]["history"]["status"]["messages"][-1][1]
    error = errors.execution_error("http://s", details, {"0": "Load"})
    assert str(error) == "http://s: node 'Load' (ToyLoadBatch) failed: RuntimeError: toy boom"
    assert (error.kind, error.node_id, error.url, error.status) == ("RuntimeError", "0", "http://s", None)
    assert not isinstance(error, errors.OutOfMemory)
    assert "ToyLoadBatch (id 0)" in str(errors.execution_error("http://s", details, {}))


@pytest.mark.parametrize("answer", [{}, {"error": "text"}, {"node_errors": []}, {"node_errors": {"1": 5}}])
def test_a_refusal_without_reasons_is_still_one(answer):
    error = errors.rejection("http://s", 400, answer, {})
    assert error.status == 400 and "refuses the workflow" in str(error)


def test_long_refusals_are_cut():
    many = {
        str(n): {"errors": [{"message": "bad " * 900, "details": "d" * 9000}], "class_type": "X"} for n in range(50)
    }
    error = errors.rejection("http://s", 400, {"node_errors": many}, {})
    assert "and 45 more" in str(error)
    assert len(str(error)) < 4000


def test_all_errors_are_engine_errors_with_an_address():
    for kind in (errors.Unreachable, errors.Interrupted, errors.Lost, errors.Stalled, errors.BadAnswer):
        error = kind("http://s", "went wrong", 502, "its words")
        assert isinstance(error, errors.ServerError) and isinstance(error, EngineError)
        assert str(error) == "http://s: went wrong (HTTP 502): its words"
