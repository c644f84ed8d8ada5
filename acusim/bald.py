"""Which hair codes mean a bald head, inferred from the labels.

On a bald head the acupoints of the scalp are visible, and so listed, in the views that face them; hair hides them.
The code that means bald is not public, so visible points are counted, the majority decides, and the counts are printed.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from acusim import acupoints, rig
from acusim.errors import AcuSimError, ConfigError
from acusim.files import safe_join
from acusim.labels import read_label
from acusim.layout import Sample

_FACING = -0.6
"""A scalp point counts in a view where the cosine between camera forward and its normal is below this."""
_MIN_SEEN = 0.5
"""Share of facing scalp points that must be listed for a head to count as bald."""
_MIN_POINTS = 4
"""Facing scalp points a hair code needs before anything is decided."""
_LABELS_PER_CODE = 48
"""Labels read for each hair code, spread over its models."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the labels show about one hair code."""

    code: str
    samples: int
    """Samples of this code."""
    models: int
    """Models whose labels were read."""
    facing: int
    """Scalp points that faced the camera in the labels read."""
    listed: int
    """How many of them the labels list."""
    bald: bool
    reason: str

    def __str__(self) -> str:
        return f"{self.code}: {'bald' if self.bald else 'haired'} ({self.reason}; {self.samples} samples)"


def _scalp_points_facing(frame: int) -> list[int]:
    """Indices of the scalp acupoints that face the camera of a frame."""
    camera = rig.camera(frame)
    scalp = np.array(acupoints.SCALP)
    toward = acupoints.positions_mm()[scalp] - camera.center_mm
    toward /= np.linalg.norm(toward, axis=1, keepdims=True)
    return scalp[(toward * acupoints.normals()[scalp]).sum(1) < _FACING].tolist()


def parse_bald_codes(text: str) -> frozenset[str] | None:
    """Reads ``--bald-codes``: None for ``auto``, else the codes of a list such as ``HB,HF`` (``none`` for none).

    Raises:
        ConfigError: a code is empty or not made of letters and digits, or auto or none stands among codes.
    """
    if text == "auto":
        return None
    if text == "none":
        return frozenset()
    codes = frozenset(part.strip() for part in text.split(","))
    for code in codes:
        if not code.isalnum() or not code.isascii() or code.lower() in ("auto", "none"):
            raise ConfigError(f"--bald-codes {text!r}: {code!r} is not a hair code; write auto, none, or codes: HB,HF")
    return codes


def given_evidence(samples: Iterable[Sample], codes: frozenset[str]) -> list[Evidence]:
    """The user's own list, in the form of evidence."""
    counts: dict[str, int] = defaultdict(int)
    for sample in samples:
        counts[sample.id.hair] += 1
    return [
        Evidence(
            code,
            counts[code],
            0,
            0,
            0,
            code in codes,
            "set by --bald-codes" + ("" if counts[code] else "; no sample has it"),
        )
        for code in sorted(counts.keys() | codes)
    ]


def gather_evidence(root: Path, samples: Iterable[Sample]) -> list[Evidence]:
    """Reads some labels of each hair code and decides; damaged labels are reported by the batch itself."""
    facing = {frame: _scalp_points_facing(frame) for frame in rig.FRAMES}
    by_code: dict[str, dict[str, list[Sample]]] = defaultdict(lambda: defaultdict(list))
    counts: dict[str, int] = defaultdict(int)
    for sample in samples:
        counts[sample.id.hair] += 1
        by_code[sample.id.hair][sample.id.identity].append(sample)
    return [_judge(root, code, counts[code], by_code[code], facing) for code in sorted(by_code)]


def _judge(
    root: Path, code: str, count: int, by_model: dict[str, list[Sample]], facing: dict[int, list[int]]
) -> Evidence:
    # The views of each model that face most scalp points first, then round robin over the models.
    for views in by_model.values():
        views.sort(key=lambda sample: (-len(facing[sample.id.frame]), sample.image))
    per_model = max(1, _LABELS_PER_CODE // len(by_model))
    faced = seen = 0
    models: dict[str, tuple[int, int]] = {}
    for name in sorted(by_model)[:_LABELS_PER_CODE]:
        model_faced = model_seen = 0
        for sample in by_model[name][:per_model]:
            points = facing[sample.id.frame]
            if not points:
                break
            try:
                listed = read_label(safe_join(root, sample.label)).listed
            except AcuSimError:
                continue
            model_faced += len(points)
            model_seen += int(listed[points].sum())
        if model_faced:
            models[name] = (model_faced, model_seen)
            faced, seen = faced + model_faced, seen + model_seen
    if faced < _MIN_POINTS:
        reason = f"no evidence: only {faced} scalp points face the cameras of its labels; assumed haired"
        return Evidence(code, count, len(models), faced, seen, False, reason)
    bald_models = sum(seen_here >= _MIN_SEEN * faced_here for faced_here, seen_here in models.values())
    reason = f"{seen} of {faced} facing scalp points are seen, bald models: {bald_models} of {len(models)}"
    if 0 < bald_models < len(models):
        reason += ", mixed: check with --bald-codes"
    return Evidence(code, count, len(models), faced, seen, seen >= _MIN_SEEN * faced, reason)
