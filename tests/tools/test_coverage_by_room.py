"""The table of coverage, by hand."""

from tools.coverage_by_room import table


def _file(statements: int, covered: int) -> dict[str, dict[str, int]]:
    return {"summary": {"num_statements": statements, "covered_lines": covered}}


def test_files_are_added_up_by_room():
    files = {"acusim/a.py": _file(30, 30), "acusim/data/b.py": _file(10, 0), "training/c.py": _file(60, 45)}
    rows = [line.split() for line in table({"files": files | {"engines/__init__.py": _file(0, 0)}}).splitlines()]
    assert rows == [
        ["room", "lines", "run", "share"],
        ["acusim", "40", "30", "75.0", "%"],
        ["engines", "0", "0", "-"],
        ["training", "60", "45", "75.0", "%"],
        ["all", "100", "75", "75.0", "%"],
    ]
