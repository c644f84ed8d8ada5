"""Prints how much of each room the tests ran: ``python -m tools.coverage_by_room build/coverage.json``.

The file is what ``pytest --cov --cov-report=json:FILE`` writes.
"""

import json
import sys
from collections import Counter
from pathlib import Path


def table(report: dict[str, dict[str, dict[str, dict[str, int]]]]) -> str:
    """A line for each room, the first part of its files' paths, and one for all: lines of code, of these run, share."""
    lines, covered = Counter[str](), Counter[str]()
    for name, file in report["files"].items():
        for room in (Path(name).parts[0], "all"):
            lines[room] += file["summary"]["num_statements"]
            covered[room] += file["summary"]["covered_lines"]
    rows = [f"{'room':14}{'lines':>8}{'run':>8}{'share':>9}"]
    for room in [*sorted(set(lines) - {"all"}), "all"]:
        share = f"{100 * covered[room] / lines[room]:.1f} %" if lines[room] else "-"
        rows.append(f"{room:14}{lines[room]:8d}{covered[room]:8d}{share:>9}")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
