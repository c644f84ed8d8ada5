"""Models that turn a picture into points, whatever they were made with.

The server knows nothing but Recogniser. Here are the ones that come from a run's folder and from an ONNX file that
export wrote.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from acusim import acupoints
from acusim.errors import ConfigError, EngineError, shown
from acusim.files import sha256
from training.data.photographs import letterbox
from training.inference.drawing import HEAD, Palette
from training.inference.hand import VISIBLE_FROM, hand_predictor, palette_of, prediction_of
from training.inference.predict import ENOUGH, Prediction, Predictor, Squares, predictor_of
from training.runs import open_run
from training.tasks.hand_points import HandPoint, HandPoints, read_points
from training.web.point_names import HEAD_POINTS, Point, hand_points

if TYPE_CHECKING:
    import torch

    from training.models.heatmaps import Decoding

Kind = Literal["head", "hand"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Evidence = Literal["visibility", "peak", "none"]
"""What a point's number is: its probability of being visible, the height of its heatmap's peak, or nothing."""
THRESHOLDS: dict[Evidence, float] = {"visibility": 0.5, "peak": VISIBLE_FROM, "none": 0.0}
"""From which number on a point counts as visible where nobody says otherwise."""
MAX_ONNX_BYTES = 2 << 30


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The points of one picture."""

    confidence: NDArray[np.float64]
    """[K] 0..1, see Evidence; 1 where the model gives none."""
    xy_px: NDArray[np.float64]
    """[K, 2] pixels from the picture's left and top edge."""
    hand_type: NDArray[np.float64] | None = None
    """[2] probability of each trait's second value, see hands.hand_type; None where the model does not tell."""


class Recogniser(Protocol):
    """A model that turns a picture into points. ``recognise`` is called by one thread at a time."""

    @property
    def kind(self) -> Kind:
        """What it knows."""
        ...

    @property
    def points(self) -> tuple[Point, ...]:
        """[K] what its points are called."""
        ...

    @property
    def palette(self) -> Palette:
        """The same for drawn pictures, with colours."""
        ...

    @property
    def evidence(self) -> Evidence:
        """What the numbers of its points are."""
        ...

    @property
    def enough_px(self) -> int:
        """Pixels that both sides of a picture should keep."""
        ...

    @property
    def made_by(self) -> Mapping[str, Any]:
        """JSON values that tell the model, such as the run's name and the hash of its weights."""
        ...

    def recognise(self, pixels: NDArray[np.uint8]) -> Found:
        """The points of a picture [H, W, 3] RGB.

        Raises:
            EngineError: the model's output is not finite.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class ModelRecogniser:
    """A predictor with what its points are called."""

    kind: Kind
    points: tuple[Point, ...]
    palette: Palette
    evidence: Evidence
    size: int
    """Side of the predictor's input in pixels."""
    predictor: Predictor
    made_by: Mapping[str, Any]

    @property
    def enough_px(self) -> int:
        """As many as predict keeps, so that both give the same points."""
        return max(ENOUGH, self.size)

    def recognise(self, pixels: NDArray[np.uint8]) -> Found:
        """See Recogniser."""
        square, transform = letterbox(pixels, self.size)
        said = self.predictor(square[None])
        known = [array for array in said if array is not None]
        if not all(np.isfinite(array).all() for array in known):
            raise EngineError("the model's output is not finite; is the checkpoint that of a diverged training?")
        hand_type = None if said.hand_types is None else np.asarray(said.hand_types[0], np.float64)
        return Found(np.asarray(said.probability[0], np.float64), transform.from_unit(said.xy[0]), hand_type)


def warm_up(recogniser: Recogniser) -> None:
    """Lets a model see a grey picture: the first one takes longer, and some libraries comment on it.

    Raises:
        EngineError: the model's output is not finite.
    """
    recogniser.recognise(np.full((recogniser.enough_px, recogniser.enough_px, 3), 127, np.uint8))


def open_recogniser(
    kind: Kind, path: Path, device: "torch.device | str" = "cpu", threads: int | None = None
) -> ModelRecogniser:
    """A model by its files: a run, or an ONNX file that export wrote.

    Args:
        kind: what it must know.
        path: the run's folder, or a file that ends in .onnx.
        device: where a run's network works; ONNX files work on the CPU.
        threads: of the CPU, for ONNX files; None for all.

    Raises:
        ConfigError: no such run or file, or one of another kind.
    """
    if path.suffix.lower() == ".onnx":
        return _from_onnx(kind, path, threads)
    run = open_run(path, device=device)
    if run.kind != kind:
        raise ConfigError(f"--{kind} {str(path)!r} is a run of the {run.kind}; say --{run.kind}")
    if run.kind == "head":
        return _head(run.config.data.size, predictor_of(run.network, device), run.made_by)
    evidence = "peak" if run.network.OUTPUT == "heatmaps" else "none"
    predictor = hand_predictor(run.network, run.config, device)
    return _hand(run.points, evidence, run.config.data.size, predictor, run.made_by)


def _head(size: int, predictor: Predictor, made_by: Mapping[str, Any]) -> ModelRecogniser:
    return ModelRecogniser("head", HEAD_POINTS, HEAD, "visibility", size, predictor, made_by)


def _hand(
    points: HandPoints, evidence: Evidence, size: int, predictor: Predictor, made_by: Mapping[str, Any]
) -> ModelRecogniser:
    return ModelRecogniser("hand", hand_points(points.points), palette_of(points), evidence, size, predictor, made_by)


def _from_onnx(kind: Kind, path: Path, threads: int | None) -> ModelRecogniser:
    import onnxruntime

    from training.inference.export import INPUT

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    try:
        if path.stat().st_size > MAX_ONNX_BYTES:
            raise ConfigError(f"{str(path)!r} is larger than {MAX_ONNX_BYTES >> 30} GiB: export did not write it")
        data = path.read_bytes()
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        texts: dict[str, str] = session.get_modelmeta().custom_metadata_map
        names, size = json.loads(texts["acupoints"]), int(texts["size"])
        decoding: Decoding = json.loads(texts["config"])["loss"]["decoding"] if kind == "hand" else "argmax"
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("its points have no names")
    except OSError as error:
        raise ConfigError(f"{str(path)!r} cannot be read: {error.strerror}") from None
    except ConfigError:
        raise
    except Exception as error:  # onnxruntime has its own types, none of them public
        raise ConfigError(f"{str(path)!r} is not an ONNX file that export wrote: {str(error)[:200]}") from None
    if (kind == "head") != (tuple(names) == acupoints.NAMES):
        raise ConfigError(f"{str(path)!r} knows {len(names)} points, {shown(names[:1])} …: it is no {kind} model")
    outputs = [output.name for output in session.get_outputs()]
    allowed = [["visibility", "coordinates"]]
    if kind == "hand":
        allowed = [[points, *types] for points in ("heatmaps", "coordinates") for types in ([], ["hand_type"])]
    if outputs not in allowed:
        raise ConfigError(f"{str(path)!r} gives {', '.join(outputs)}; a {kind} model of export does not")

    def run(squares: Squares) -> list[NDArray[Any]]:
        images = np.ascontiguousarray(squares.transpose(0, 3, 1, 2), np.float32) / np.float32(255)
        return [np.asarray(output) for output in session.run(outputs, {INPUT: images})]

    made_by = {"file": path.name, "sha256": sha256(data), "checkpoint_sha256": texts.get("checkpoint_sha256", "")}
    if kind == "head":
        return _head(size, lambda squares: Prediction(*run(squares)), made_by)

    def run_hand(squares: Squares) -> Prediction:
        import torch

        points, *types = map(torch.from_numpy, run(squares))
        return prediction_of(points, types[0] if types else None, decoding)

    evidence = "peak" if outputs[0] == "heatmaps" else "none"
    return _hand(_known_points(names), evidence, size, run_hand, made_by)


def _known_points(codes: list[str]) -> HandPoints:
    """Points by their codes, as the file that comes with the project has them; a code that it lacks stands alone."""
    known = {point.id: point for point in read_points().points}
    points = [
        replace(known[code], index=index)
        if code in known
        else HandPoint(index, code, (code,), "", "", "", "".join(takewhile(str.isalpha, code)))
        for index, code in enumerate(codes)
    ]
    return HandPoints(tuple(points))
