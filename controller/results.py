"""What OUT holds beside the images: the manifest and the contact sheet, both from the ledger."""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from acusim.errors import AcuSimError
from acusim.files import safe_join
from acusim.pictures import encode, read_rgb
from controller.ledger import Ledger
from controller.output_files import write_file

MANIFEST = "manifest.jsonl"
DONE, SKIPPED = "done", "set aside"
"""The status of a line of the manifest, as it is stored; readers of manifests rely on these words."""
CONTACT_SHEET = "contact_sheet.jpg"
CELL = 176
"""Side of a thumbnail in pixels."""
CAPTION = 14
COLUMNS = 4
PAIRS = 24


def write_manifest(ledger: Ledger, output: Path) -> None:
    """One JSON line for each image, by path: how it was created, or why it was skipped. No times, no absolute paths."""
    write_file(output, MANIFEST, _lines(ledger))


def _lines(ledger: Ledger) -> Iterator[bytes]:
    for key, reason, record in ledger.outcomes():
        line = {"status": DONE} if reason is None else {"status": SKIPPED, "image": key, "reason": reason}
        line |= record
        yield (json.dumps(line, ensure_ascii=False, sort_keys=True) + "\n").encode()


def write_contact_sheet(ledger: Ledger, output: Path, root: Path) -> Path | None:
    """Up to 24 pairs, sample left and result right, spread over the prompt sets; None if nothing is done."""
    records = [ledger.record(key) for key in _spread(ledger.prompt_sets())]
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
    write_file(output, CONTACT_SHEET, encode(np.asarray(sheet), ".jpg"))
    return output / CONTACT_SHEET


def _spread(done: list[tuple[str, str]]) -> list[str]:
    """At most PAIRS keys of (key, prompt set): an equal share of each prompt set, evenly over its images."""
    by_set: dict[str, list[str]] = defaultdict(list)
    for key, prompt_set in done:
        by_set[prompt_set].append(key)
    chosen: list[tuple[str, str]] = []
    left = PAIRS
    # Small sets first, so that what they do not use goes to the larger ones.
    order = sorted(by_set.items(), key=lambda entry: (len(entry[1]), entry[0]))
    for position, (prompt_set, members) in enumerate(order):
        share = min(len(members), left // (len(order) - position))
        chosen += [(prompt_set, members[i * len(members) // share]) for i in range(share)]
        left -= share
    return [key for _, key in sorted(chosen)]
