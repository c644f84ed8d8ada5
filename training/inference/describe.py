"""The composition of a network: layers, parameters, bytes, floating-point operations.

Counted on torch's meta device, without numbers: fast and small for any network. Convention: one multiply-accumulate
(MAC) is two floating-point operations (FLOP), as torch.utils.flop_counter has it; convolutions and matrix products are
counted, and normalisation, activations and pooling are not.

"Params (M)" in acuSimNet's tables is not the number of parameters but the bytes of weights and AdamW's two moments,
divided by four million; it is given beside the true count as the name ``paper_params_m``.
"""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from training.settings import BaseConfig

CONVENTION = (
    "1 MAC = 2 FLOP; convolutions and matrix products of a forward pass; not normalisation, activation, pooling"
)


def network_on_meta(config: "BaseConfig") -> "tuple[torch.nn.Module, int]":
    """The network of a configuration, with shapes and no numbers, and the side of its input."""
    from training.models import hand, head
    from training.tasks.hand_config import HandConfig
    from training.tasks.head_config import HeadConfig

    if isinstance(config, HeadConfig):
        return head.on_meta(config), config.data.size
    assert isinstance(config, HandConfig)
    network = hand.on_meta(config)
    return network.model if network.hand_type is None else network, config.data.size


def describe(model: "torch.nn.Module", input_shape: Sequence[int], *, depth: int = 1) -> dict[str, Any]:
    """Describes a network by JSON values.

    Args:
        model: on any device; neither run nor modified (a copy without numbers is).
        input_shape: of one input tensor, with the batch: (1, 3, 512, 512).
        depth: how many levels of modules the table has.

    Returns:
        ``layers``: rows of name, type, output (shapes, by name where the module returns several), parameters,
        trainable, flops. ``parameters``: total, trainable, by_part (of each top-level module; what belongs to none is
        "other"). ``weights_bytes``: parameters and buffers as stored. ``flops``, ``macs``, ``flops_by_part``,
        ``convention``, ``input_shape``, ``paper_params_m``.
    """
    ghost = _on_meta(model).eval()
    rows = {name: module for name, module in ghost.named_modules() if name and name.count(".") < depth}
    output, outputs, flops, total_flops = _run(ghost, rows, input_shape)
    parts = [name for name, _ in ghost.named_children()]
    total, trainable = _count(ghost)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in (*ghost.parameters(), *ghost.buffers()))
    kept = ghost.state_dict(keep_vars=True)
    buffers = sum(buffer.numel() for name, buffer in ghost.named_buffers() if name in kept)
    counted = {name: _count(module) for name, module in rows.items()}
    sizes = dict.fromkeys((*parts, "other"), 0)
    for name, size in _sizes(ghost).items():
        part = name.split(".")[0]
        sizes[part if part in parts else "other"] += size
    flops_by_part = {part: flops[part] for part in parts}
    flops_by_part["other"] = total_flops - sum(flops_by_part.values())
    return {
        "model": type(ghost).__name__,
        "input_shape": list(input_shape),
        "output": output,
        "layers": [
            {
                "name": name,
                "type": type(module).__name__,
                "output": outputs.get(name),
                "parameters": counted[name][0],
                "trainable": counted[name][1],
                "flops": flops[name],
            }
            for name, module in rows.items()
        ],
        "parameters": {"total": total, "trainable": trainable, "by_part": _without_empty_rest(sizes)},
        "weights_bytes": weights,
        "paper_params_m": round((total + 2 * trainable + buffers) / 1e6, 2),
        "flops": total_flops,
        "macs": total_flops // 2,
        "flops_by_part": _without_empty_rest(flops_by_part),
        "convention": CONVENTION,
    }


def _run(
    ghost: "torch.nn.Module", rows: "Mapping[str, torch.nn.Module]", input_shape: Sequence[int]
) -> tuple[Any, dict[str, Any], dict[str, int], int]:
    """One forward pass: shapes of the output and of the rows' outputs, and operations by module and in all."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    outputs: dict[str, Any] = {}

    def record(name: str) -> Any:
        return lambda _module, _inputs, output: outputs.update({name: _shapes(output)})

    hooks = [module.register_forward_hook(record(name)) for name, module in rows.items()]
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        result = ghost(torch.empty(*input_shape, device="meta"))
    for hook in hooks:
        hook.remove()
    root = type(ghost).__name__
    called = {name.removeprefix(f"{root}."): sum(ops.values()) for name, ops in counter.get_flop_counts().items()}
    flops = {name: _flops(module, name, called) for name, module in ghost.named_modules() if name}
    return _shapes(result), outputs, flops, int(counter.get_total_flops())


def _on_meta(model: "torch.nn.Module") -> "torch.nn.Module":
    """A copy whose tensors have shapes and no numbers; the numbers are not copied on the way."""
    import torch

    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        memo[id(parameter)] = torch.nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)
    for buffer in model.buffers():
        memo[id(buffer)] = buffer.detach().to("meta")
    return copy.deepcopy(model, memo)


def _flops(module: "torch.nn.Module", name: str, called: Mapping[str, int]) -> int:
    """Of a module; those of its children where it is a mere container, which is never called itself."""
    if name in called:
        return int(called[name])
    return sum(_flops(child, f"{name}.{part}", called) for part, child in module.named_children())


def _without_empty_rest(by_part: Mapping[str, int]) -> dict[str, int]:
    return {part: count for part, count in by_part.items() if count or part != "other"}


def _sizes(module: "torch.nn.Module") -> dict[str, int]:
    """Numbers in each parameter by its name; a shared one counts once, and what a module's ``padding_of`` declares
    always zero does not count."""
    sizes = {name: parameter.numel() for name, parameter in module.named_parameters()}
    for prefix, child in module.named_modules():
        for name, count in getattr(child, "padding_of", {}).items():
            sizes[f"{prefix}.{name}" if prefix else name] -= count
    return sizes


def _count(module: "torch.nn.Module") -> tuple[int, int]:
    """Parameters, and those of them that are trained."""
    sizes = _sizes(module)
    return sum(sizes.values()), sum(sizes[name] for name, p in module.named_parameters() if p.requires_grad)


def _shapes(output: Any) -> Any:
    """The shapes of the tensors in whatever a module returns, as JSON values."""
    import torch

    if isinstance(output, torch.Tensor):
        return list(output.shape)
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        return {field.name: _shapes(getattr(output, field.name)) for field in dataclasses.fields(output)}
    if isinstance(output, tuple) and hasattr(output, "_asdict"):
        return {name: _shapes(value) for name, value in output._asdict().items()}  # type: ignore[attr-defined]
    if isinstance(output, Mapping):
        return {str(name): _shapes(value) for name, value in output.items()}
    return [_shapes(value) for value in output] if isinstance(output, list | tuple) else None


def as_text(description: Mapping[str, Any]) -> str:
    """A description for people: the table of layers and the sums."""
    header = ("layer", "type", "output", "parameters", "GMAC")
    table = [header] + [
        (row["name"], row["type"], _short(row["output"]), f"{row['parameters']:,}", f"{row['flops'] / 2e9:.3f}")
        for row in description["layers"]
    ]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    lines = [
        "  ".join(
            cell.rjust(width) if column >= 3 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    parameters = description["parameters"]
    parts = ", ".join(f"{part} {count:,}" for part, count in parameters["by_part"].items())
    return "\n".join(
        [
            f"{description['model']}, input {_short(description['input_shape'])}",
            "",
            *lines,
            "",
            f"parameters    {parameters['total']:,} ({parameters['total'] / 1e6:.2f} M), "
            f"{parameters['trainable']:,} trainable",
            f"              {parts}",
            f"weights       {description['weights_bytes']:,} bytes",
            f"              {description['paper_params_m']:.2f} M as acuSimNet's paper counts: bytes of weights and "
            "moments of AdamW / 4e6",
            f"forward       {description['macs'] / 1e9:.3f} GMAC = {description['flops'] / 1e9:.3f} GFLOP",
            f"              {description['convention']}",
        ]
    )


def _short(shapes: Any) -> str:
    """Shapes in one line: ``2x174x2``, several of them with commas."""
    if isinstance(shapes, dict):
        return ", ".join(_short(value) for value in shapes.values() if value is not None)
    if isinstance(shapes, list) and shapes and all(isinstance(value, int) for value in shapes):
        return "x".join(map(str, shapes))
    return ", ".join(_short(value) for value in shapes if value is not None) if shapes else "-"
