"""Models from ONNX files that export wrote."""

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from acusim import acupoints
from acusim.errors import ConfigError, shown
from acusim.files import sha256
from training.inference.export import INPUT
from training.inference.model import Model, hand_model, head_model
from training.inference.predictors import Prediction, Squares, hand_prediction
from training.tasks.hand_points import HandPoint, HandPoints, read_points

if TYPE_CHECKING:
    from training.models.heatmaps import Decoding

MAX_BYTES = 2 << 30
HEAD_OUTPUTS = ["visibility", "coordinates"]
HAND_OUTPUTS = [
    [*points, *types]
    for points in (["heatmaps"], ["coordinates"], ["coordinates", "visibility"])
    for types in ([], ["hand_type"])
]


def open_onnx(path: Path, threads: int | None = None) -> Model:
    """A model by its file; it works on the CPU.

    Args:
        path: the file, untrusted.
        threads: of the CPU; None for all.

    Raises:
        ConfigError: it cannot be read, or export did not write it.
    """
    session, texts, digest = _session(path, threads)
    try:
        names, size = json.loads(texts["acupoints"]), int(texts["size"])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("its points have no names")
        is_head = tuple(names) == acupoints.NAMES
        decoding: Decoding = "argmax" if is_head else json.loads(texts["config"])["loss"]["decoding"]
    except (ValueError, KeyError, TypeError) as error:
        raise _not_ours(path, error) from None
    outputs = [output.name for output in session.get_outputs()]
    if outputs not in ([HEAD_OUTPUTS] if is_head else HAND_OUTPUTS):
        kind = "head" if is_head else "hand"
        raise ConfigError(
            f"{str(path)!r} knows {len(names)} points, {shown(names[:1])} …, and gives {', '.join(outputs)}; "
            f"a {kind} model of export does not"
        )

    def run(squares: Squares) -> list[NDArray[Any]]:
        images = np.ascontiguousarray(squares.transpose(0, 3, 1, 2), np.float32) / np.float32(255)
        return [np.asarray(output) for output in session.run(outputs, {INPUT: images})]

    def run_hand(squares: Squares) -> Prediction:
        import torch

        return hand_prediction(dict(zip(outputs, map(torch.from_numpy, run(squares)), strict=True)), decoding)

    made_by = {"file": path.name, "sha256": digest, "checkpoint_sha256": texts.get("checkpoint_sha256", "")}
    if is_head:

        def run_head(squares: Squares) -> Prediction:
            probability, xy = run(squares)
            return Prediction(probability, xy)

        return head_model(run_head, size, made_by)
    return hand_model(_known_points(names), outputs, run_hand, size, made_by)


def _session(path: Path, threads: int | None) -> tuple[Any, dict[str, str], str]:
    """onnxruntime's session of a file, the file's metadata and its SHA-256."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{str(path)!r} is larger than {MAX_BYTES >> 30} GiB: export did not write it")
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{str(path)!r} cannot be read: {error.strerror}") from None
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        return session, session.get_modelmeta().custom_metadata_map, sha256(data)
    except Exception as error:  # onnxruntime has its own types, none of them public
        raise _not_ours(path, error) from None


def _not_ours(path: Path, error: Exception) -> ConfigError:
    return ConfigError(f"{str(path)!r} is not an ONNX file that export wrote: {str(error)[:200]}")


def _known_points(codes: Sequence[str]) -> HandPoints:
    """Points by their codes, as in the file that comes with the project; a code that it lacks has no further names."""
    known = {point.id: point for point in read_points().points}
    points = [
        replace(known[code], index=index)
        if code in known
        else HandPoint(index, code, (code,), "", "", "", "".join(takewhile(str.isalpha, code)))
        for index, code in enumerate(codes)
    ]
    return HandPoints(tuple(points))
