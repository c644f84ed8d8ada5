"""The store of measurements."""

import sqlite3
from pathlib import Path

from evaluation.store import FILE, Reader, Store


def test_the_store_remembers(tmp_path: Path):
    with Store(tmp_path / "out") as store:
        store.add([("a", {"x": 1}), ("b", [1, 2])])
    reader = Reader(tmp_path / "out" / FILE)
    assert reader.get("a") == {"x": 1} and reader.get("b") == [1, 2] and reader.get("c") is None


def test_a_damaged_record_is_measured_again(tmp_path: Path):
    with Store(tmp_path) as store:
        store.add([("a", 1)])
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute("UPDATE measured SET record = '{'")
    assert Reader(tmp_path / FILE).get("a") is None
