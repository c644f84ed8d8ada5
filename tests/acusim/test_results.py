"""Values for JSON, lines of CSV, files of the output folder."""

import json

import numpy as np
import pytest

from acusim.errors import OutputError
from acusim.results import csv_line, json_values, write_result
from acusim.statistics import Figure


def test_what_json_does_not_know_becomes_what_it_knows():
    value = {1: Figure(1 / 3, float("nan"), np.inf), "a": (np.float32(0.5), np.int64(3), np.bool_(True)), "b": None}
    got = {"1": {"value": 0.33333, "low": None, "high": None}, "a": [0.5, 3, True], "b": None}
    assert json_values(value) == got
    assert json.loads(json.dumps(json_values(value), allow_nan=False)) == got
    assert json_values(np.array([[1.0, np.nan]])) == [[1.0, None]]


def test_numbers_are_rounded_or_left_as_they_are():
    assert json_values(np.float64(0.123456789)) == 0.12346 and json_values(0.123456789, None) == 0.123456789


@pytest.mark.parametrize("start", ["=", "@", "\t"])
def test_a_cell_that_starts_like_a_formula_is_made_a_text(start):
    assert csv_line([f"{start}x", -1, "a,b"]) == f'\'{start}x,-1,"a,b"\n'.encode()


def test_a_folder_is_made_and_one_that_cannot_be_is_reported(tmp_path):
    write_result(tmp_path / "a/b.txt", b"x")
    assert (tmp_path / "a/b.txt").read_bytes() == b"x"
    with pytest.raises(OutputError, match="cannot be written"):
        write_result(tmp_path / "a/b.txt/c", b"x")
