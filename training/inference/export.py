"""A model as ONNX: written only after onnxruntime reproduces its output.

The file takes float32 images [B, 3, S, S] in 0..1 with any B, as every model here does, and its metadata name the
points. Scaling, padding and the way back are those of training.data.photographs; a program in another language
has to do the same.

It is written by torch's TorchScript exporter, because the newer one needs a package that this project does not need;
torch's warning about that is shown.
"""

import copy
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from acusim import acupoints
from acusim.errors import EngineError, OutputError
from acusim.files import write_atomic

if TYPE_CHECKING:
    import torch

    from training.runs import Run

    Outputs = Callable[[Any], Mapping[str, torch.Tensor]]
    """What a model returns to named tensors whose first axis is the batch."""

INPUT = "images"
TOLERANCE = 1e-4
"""Largest absolute difference, in any output, between the model and the file."""
PARITY_BATCHES = (1, 3)
OPSET = 18
LICENCE = "Apache-2.0"
"""Of exported models; weights derived from published ones keep the terms of those, too."""


def head_outputs(output: Any) -> "dict[str, torch.Tensor]":
    """The head's model: ``visibility`` [B, 174], the probability, and ``coordinates`` [B, 174, 2], 0..1."""
    return {"visibility": output.visibility_logits.sigmoid(), "coordinates": output.coordinates}


def export_run(run: "Run", path: Path) -> dict[str, float]:
    """Writes the network of a run; arguments and errors as for export.

    Heads give ``visibility`` and ``coordinates``, see head_outputs. Hands give ``heatmaps`` [B, P, S, S], which
    training.models.heatmaps.decode turns into points by the method that the metadata's configuration names under
    loss.decoding, or ``coordinates`` [B, P, 2] in 0..1; and, where the network has these outputs, ``visibility``
    [B, P], the probability that a point is visible, and ``hand_type`` [B, 2]: that of the left hand and of the palm.
    """
    config, size = run.config.as_dict() | {"run": run.made_by}, run.config.data.size
    if run.kind == "head":
        return export(run.network, path, size, config=config, checkpoint_sha256=run.sha256)
    from training.models.hand import named_outputs

    ids, digest = run.points.ids, run.sha256
    return export(run.network, path, size, config=config, checkpoint_sha256=digest, names=ids, outputs=named_outputs)


def export(
    model: "torch.nn.Module",
    path: Path,
    size: int,
    *,
    config: Mapping[str, Any],
    checkpoint_sha256: str,
    names: tuple[str, ...] = acupoints.NAMES,
    outputs: "Outputs" = head_outputs,
    tolerance: float = TOLERANCE,
) -> dict[str, float]:
    """Writes a model as an ONNX file; the same model always gives the same bytes.

    Args:
        model: images [B, 3, S, S] float32 in 0..1 to anything; it is not modified.
        path: of the file; replaced if it is there.
        size: S, the side of the input in pixels.
        config: JSON values; the file's metadata are ``acupoints`` (names, a JSON list), ``size``, ``config``,
            ``checkpoint_sha256`` and ``licence``.
        checkpoint_sha256: of the weights' file.
        names: of the points, in the order of the outputs.
        outputs: from what the model returns to the file's named outputs.
        tolerance: largest difference allowed to the file.

    Returns:
        The largest absolute difference of each output, see check_parity.

    Raises:
        EngineError: the model cannot be exported, or the file's outputs are not the model's; nothing is written.
        OutputError: the file cannot be written.
    """
    import onnx

    data = _exported(model, size, outputs)
    proto = onnx.load_model_from_string(data)
    texts = {
        "acupoints": json.dumps(names, ensure_ascii=False),
        "size": str(size),
        "config": json.dumps(config, ensure_ascii=False, sort_keys=True, allow_nan=False),
        "checkpoint_sha256": checkpoint_sha256,
        "licence": LICENCE,
    }
    onnx.helper.set_model_props(proto, texts)
    onnx.checker.check_model(proto)
    data = proto.SerializeToString(deterministic=True)
    differences = check_parity(data, model, size, outputs=outputs)
    if not all(value <= tolerance for value in differences.values()):  # also true of NaN
        text = ", ".join(f"{name} {value:.3g}" for name, value in differences.items())
        raise EngineError(
            f"the exported file differs from the model by {text}; allowed is {tolerance:g}; {str(path)!r} not written"
        )
    try:
        write_atomic(path, data)
    except OSError as error:
        raise OutputError(f"{str(path)!r} cannot be written: {error.strerror}; name another file") from None
    return differences


def _quiet_copy(model: "torch.nn.Module") -> "torch.nn.Module":
    """A float32 copy on the CPU in evaluation mode."""
    return copy.deepcopy(model).cpu().float().eval()


def _replace_uneven_pools(model: "torch.nn.Module", images: "torch.Tensor") -> None:
    """Replaces adaptive mean pools whose output does not divide their input, which the exporter cannot write.

    For a fixed size such a pool is a product with one matrix for the rows and one for the columns. VGG has one.
    """
    import torch

    sizes: dict[str, tuple[int, int]] = {}

    def record(name: str) -> Any:
        return lambda _pool, inputs: sizes.update({name: (int(inputs[0].shape[-2]), int(inputs[0].shape[-1]))})

    pools = {name: m for name, m in model.named_modules() if isinstance(m, torch.nn.AdaptiveAvgPool2d)}
    hooks = [pool.register_forward_pre_hook(record(name)) for name, pool in pools.items()]
    with torch.inference_mode():
        model(images)
    for hook in hooks:
        hook.remove()

    class Product(torch.nn.Module):
        rows: torch.Tensor
        columns: torch.Tensor

        def __init__(self, rows: torch.Tensor, columns: torch.Tensor) -> None:
            super().__init__()
            self.register_buffer("rows", rows)
            self.register_buffer("columns", columns)

        def forward(self, maps: torch.Tensor) -> torch.Tensor:
            return self.rows @ maps @ self.columns.T

    for name, given in sizes.items():
        size = pools[name].output_size
        wanted = size if isinstance(size, tuple) else (size, size)
        counts = [given[axis] if count is None else count for axis, count in enumerate(wanted)]
        if any(length % count for length, count in zip(given, counts, strict=True)):
            rows, columns = (torch.from_numpy(_means(*pair)) for pair in zip(given, counts, strict=True))
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, Product(rows, columns))


def _means(length: int, count: int) -> NDArray[np.float32]:
    """[count, length] the matrix that takes the means an adaptive pool takes; neighbouring ones overlap."""
    out = np.zeros((count, length), np.float32)
    for row in range(count):
        first, after = row * length // count, -(-(row + 1) * length // count)
        out[row, first:after] = 1 / (after - first)
    return out


def _exported(model: "torch.nn.Module", size: int, outputs: "Outputs") -> bytes:
    import tempfile

    import torch

    names: list[str] = []

    class Named(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = _quiet_copy(model)

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
            named = outputs(self.model(images))
            names[:] = named
            return tuple(named.values())

    wrapped = Named().eval()
    # Two pictures: with one, an axis of length 1 might be taken for a fixed one.
    images = torch.zeros(2, 3, size, size)
    _replace_uneven_pools(wrapped.model, images)
    with torch.inference_mode():
        wrapped(images)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "model.onnx"
        try:
            torch.onnx.export(
                wrapped,
                (images,),
                out,
                dynamo=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=names,
                dynamic_axes={name: {0: "batch"} for name in (INPUT, *names)},
            )
        except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
            raise EngineError(f"the model cannot be exported to ONNX: {str(error)[:500]}") from None
        return out.read_bytes()


def check_parity(
    file: Path | bytes,
    model: "torch.nn.Module",
    size: int,
    *,
    outputs: "Outputs" = head_outputs,
    seed: int = 0,
) -> dict[str, float]:
    """The largest absolute difference of each output between onnxruntime and the model, on the CPU in float32.

    Over noise pictures in batches of 1 and 3.

    Args:
        file: the ONNX file, or its bytes.
        model: the exported one.
        size: side of the input in pixels.
        outputs: as for export.
        seed: of the pictures.

    Raises:
        EngineError: onnxruntime cannot run the file, or its outputs have other names or shapes.
    """
    import onnxruntime
    import torch

    source = file if isinstance(file, bytes) else str(file)
    copied = _quiet_copy(model)
    random = np.random.default_rng(seed)
    largest: dict[str, float] = {}
    try:
        session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        for batch in PARITY_BATCHES:
            images = random.random((batch, 3, size, size), np.float32)
            with torch.inference_mode():
                wanted = {key: value.numpy() for key, value in outputs(copied(torch.from_numpy(images))).items()}
            got: dict[str, Any] = dict(zip(names, session.run(names, {INPUT: images}), strict=True))
            if [(key, value.shape) for key, value in wanted.items()] != [(key, np.shape(got[key])) for key in names]:
                raise EngineError(f"the file's outputs at batch {batch} are {_shapes(got)}, not {_shapes(wanted)}")
            for key, value in wanted.items():
                difference = float(np.abs(value - got[key]).max())
                largest[key] = float(np.maximum(largest.get(key, 0.0), difference))  # keeps NaN
    except EngineError:
        raise
    except Exception as error:  # onnxruntime has its own types, none of them public
        raise EngineError(f"onnxruntime cannot run the file: {str(error)[:500]}") from None
    return largest


def _shapes(arrays: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {list(np.shape(value))}" for key, value in arrays.items())
