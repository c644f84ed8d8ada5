"""The ledger: states of items, and what is refused as a ledger."""

from collections.abc import Callable
from pathlib import Path

from controller.ledger import Ledger

Run = Callable[..., object]


def test_a_ledger_that_is_a_link_is_refused(make_dataset: Run, command: Run, tmp_path: Path):
    root, out = make_dataset(frames=(1,)), tmp_path / "out"
    (out / ".acusim").mkdir(parents=True)
    (out / ".acusim/ledger.sqlite").symlink_to(tmp_path / "elsewhere.sqlite")
    command("--batch", "--engine", "relight", "--dataset", root, "--output", out, check=1)
    assert not (tmp_path / "elsewhere.sqlite").exists()


def test_a_damaged_ledger_is_reported(make_dataset: Run, command: Run, tmp_path: Path):
    root, out = make_dataset(frames=(1,)), tmp_path / "out"
    (out / ".acusim").mkdir(parents=True)
    (out / ".acusim/ledger.sqlite").write_text("this is no database, it only lies here" * 100)
    done = command("--batch", "--engine", "relight", "--dataset", root, "--output", out, check=1)
    assert "is damaged" in done.stderr


def test_ledger_states(tmp_path: Path):
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.plan(["a", "b", "c"])
        ledger.start(["a", "b"])
        ledger.skip([("b", "why", []), ("d", "new", [])])
        assert ledger.counts() == {"planned": 1, "running": 1, "done": 0, "skipped": 2}
        assert ledger.recover() == 1
        assert ledger.skipped() == [("b", "why"), ("d", "new")]
        ledger.replan(["b"])
        ledger.forget(["d"])
        assert ledger.counts() == {"planned": 3, "running": 0, "done": 0, "skipped": 0}
        assert list(ledger._each("SELECT tries FROM items WHERE key = 'a'")) == [(1,)]
