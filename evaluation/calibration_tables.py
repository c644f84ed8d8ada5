"""The tables of ``calibrate``, in Markdown."""

from collections.abc import Sequence
from typing import Any

from acusim.markdown import table
from acusim.statistics import Figure
from evaluation.thresholds import Thresholds
from evaluation.trial_rates import Row

STILL = {
    "look": "look",
    "images": "images",
    "rejected": "rejected",
    "trusted": "trusted",
    "95 % of them within, px": "bound_px",
    "mm": "bound_mm",
}
MOVED = {
    "look": "look",
    "what": "kind",
    "px": "size_px",
    "images": "images",
    "rejected": "rejected",
    "rejected, certain": "rejected_certain",
    "caught": "caught",
    "certificate true": "true",
}
ATTACKED = {
    "finished": "look",
    "images": "images",
    "rejected": "rejected",
    "caught": "caught",
    "wrongly trusted": "wrong",
}
VIEWED = {
    "look": "look",
    "what": "kind",
    "px": "size_px",
    "view": "view",
    "images": "images",
    "rejected": "rejected",
    "caught": "caught",
    "trusted": "trusted",
    "95 % of them within, mm": "bound_mm",
}
"""Columns of the tables: titles and fields of a row."""


def markdown(rows: Sequence[Row], thresholds: Thresholds, base: Thresholds, results: dict[str, Any]) -> str:
    """The content of calibration.md.

    Args:
        rows: rates by look, displacement and view.
        thresholds: fitted.
        base: what they were before.
        results: the content of calibration.json.
    """
    changed = [
        f"{name} = {value:g} ({getattr(base, name):g})"
        for name, value in thresholds.as_dict().items()
        if value != getattr(base, name)
    ]
    beyond = results["beyond_their_bound"]
    text = [
        f"Thresholds from {results['persons_fitted']} persons, rates for {results['persons_measured']} others. "
        "Brackets hold 95 % intervals over persons.",
        f"Changed, and before: {', '.join(changed)}."
        if changed
        else "No threshold was changed: none was contradicted.",
        f"Of {beyond['of']} trusted acupoints that moved by 1 px or more in accepted images {beyond['points']} moved "
        f"farther than their bound{_at_most(beyond)}.",
        *(
            f"{name.capitalize()}: of {count['of']} acupoints that moved by more than {thresholds.tolerance_mm:g} mm "
            f"{count['points']} are trusted in an accepted image{_at_most(count)}."
            for name, count in results["falsely_trusted"].items()
        ),
    ]
    everywhere = [row for row in rows if row.view == "all"]
    moved = [row for row in everywhere if row.kind in ("warp", "shift", "stranger")]
    parts = [
        ("Nothing moved", STILL, [row for row in everywhere if row.kind == "nothing"]),
        ("Moved", MOVED, sorted(moved, key=lambda row: (row.look, row.kind, row.size_px))),
        ("Attacks", ATTACKED, [row for row in everywhere if row.kind == "attack"]),
        ("By view", VIEWED, [row for row in rows if row.view != "all" and row.look in ("relit", "strong")]),
    ]
    for title, columns, chosen in parts:
        text += [
            f"### {title}",
            table(list(columns), ([_cell(row, name) for name in columns.values()] for row in chosen)),
        ]
    return "\n\n".join(part.rstrip("\n") for part in text) + "\n"


def _at_most(count: dict[str, Any]) -> str:
    high = count["share"]["high"]
    return "" if high is None else f", for other persons at most {100 * high:.2f} %"


def _cell(row: Row, name: str) -> str:
    value = getattr(row, name)
    if not isinstance(value, Figure):
        return str(value) if isinstance(value, str) else f"{value:g}"
    return value.text(1) if name.startswith("bound") else value.text(1, 100, " %")
