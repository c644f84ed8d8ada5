"""What lies in OUT beside the pictures: the manifest and the contact sheet, both made from the ledger."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from acusim.errors import AcuSimError
from acusim.files import safe_join
from acusim.pictures import encode, read_rgb
from controller.ledger import Ledger
from controller.making import put

MANIFEST = "manifest.jsonl"
CONTACT_SHEET = "contact_sheet.jpg"
CELL = 176
"""Side of a thumbnail in pixels."""
CAPTION = 14
COLUMNS = 4
PAIRS = 24


def write_manifest(ledger: Ledger, output: Path) -> None:
    """One JSON line for each picture, by path: what made it, or why it was set aside. No times, no absolute paths."""
    lines = [(key, {"status": "done", **record}) for key, record in ledger.records()]
    lines += [(key, {"status": "set aside", "image": key, "reason": reason}) for key, reason in ledger.aside()]
    lines.sort(key=lambda line: line[0])
    text = "".join(json.dumps(line, ensure_ascii=False, sort_keys=True) + "\n" for _, line in lines)
    put(output, MANIFEST, text.encode())


def write_contact_sheet(ledger: Ledger, output: Path, root: Path, changed: bool) -> Path | None:
    """Up to 24 pairs, sample left and picture right, spread over the prompt sets; None if nothing is done."""
    path = output / CONTACT_SHEET
    if not changed and path.is_file():
        return path
    records = _spread([record for _, record in ledger.records()])
    if not records:
        return None
    rows = -(-len(records) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (2 * CELL + 4), rows * (CELL + CAPTION)), (24, 24, 24))
    draw = ImageDraw.Draw(sheet)
    for number, record in enumerate(records):
        row, column = divmod(number, COLUMNS)
        left, top = column * (2 * CELL + 4), row * (CELL + CAPTION)
        for step, (base, relative) in enumerate(((root, record["source"]), (output, record["image"]))):
            try:
                picture = Image.fromarray(read_rgb(safe_join(base, relative)).pixels)
            except AcuSimError:
                continue
            picture.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
            sheet.paste(picture, (left + step * CELL, top))
        caption = f"{record['prompt_set']}  {record['sample']}".encode("ascii", "replace").decode()
        draw.text((left + 3, top + CELL + 1), caption[:58], fill=(220, 220, 220))
    put(output, CONTACT_SHEET, encode(np.asarray(sheet), ".jpg"))
    return path


def _spread(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most PAIRS records: an equal share of each prompt set, evenly over its pictures."""
    by_set: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        by_set[record["prompt_set"]].append(record)
    chosen: list[dict[str, Any]] = []
    left = PAIRS
    # Small sets first, so that what they do not use goes to the larger ones.
    for sets_left, (_, members) in zip(
        range(len(by_set), 0, -1), sorted(by_set.items(), key=lambda entry: (len(entry[1]), entry[0])), strict=True
    ):
        share = min(len(members), left // sets_left)
        chosen += [members[i * len(members) // share] for i in range(share)]
        left -= share
    return sorted(chosen, key=lambda record: (record["prompt_set"], record["image"]))
