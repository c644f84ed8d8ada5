"""What a network is made of: layers, parameters, bytes, floating-point operations.

Counted on torch's meta device, without numbers: quick and small for any network. Convention: one multiply-accumulate
(MAC) is two floating-point operations (FLOP), as torch.utils.flop_counter has it; convolutions and matrix products are
counted, and normalisation, activations and pooling are not.

"Params (M)" in acuSimNet's tables is not the number of parameters but the bytes of weights and AdamW's two moments,
divided by four million; it stands beside the true count under the name ``paper_params_m``.
"""

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

CONVENTION = (
    "1 MAC = 2 FLOP; convolutions and matrix products of a forward pass; not normalisation, activation, pooling"
)


def describe(
    model: "torch.nn.Module",
    input_shape: Sequence[int],
    *,
    depth: int = 1,
    groups: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """Describes a network by JSON values.

    Args:
        model: on any device; neither run nor modified (a copy without numbers is).
        input_shape: of one input tensor, with the batch: (1, 3, 512, 512).
        depth: how many levels of modules the table has.
        groups: name of a part, such as "heads", to the modules that make it up, by their names in the model, such as
            ("branches.visibility", "branches.coordinates"). By default each top-level module is a part.

    Returns:
        ``layers``: rows of name, type, output (shapes, by name where the module returns several), parameters,
        trainable, flops. ``parameters``: total, trainable, by_part (what belongs to none is "other").
        ``weights_bytes``: parameters and buffers as stored. ``flops``, ``macs``, ``flops_by_part``, ``convention``,
        ``input_shape``, ``paper_params_m``.

    Raises:
        ValueError: a group names a module that is not there, or a parameter belongs to two groups.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    parts = dict(groups) if groups is not None else {name: (name,) for name, _ in model.named_children()}
    part_of = _part_of_each(model, parts)
    ghost = _on_meta(model).eval()
    rows = {name: module for name, module in ghost.named_modules() if name and name.count(".") < depth}
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
    total_flops = int(counter.get_total_flops())
    flops_by_part = {part: sum(flops.get(name, 0) for name in names) for part, names in parts.items()}
    flops_by_part["other"] = total_flops - sum(flops_by_part.values())
    counted = {name: _count(module) for name, module in rows.items()}
    total, trainable = _count(ghost)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in (*ghost.parameters(), *ghost.buffers()))
    buffers = sum(buffer.numel() for _, buffer in _kept_buffers(ghost))
    by_part = {part: 0 for part in (*parts, "other")}
    for name, size in _sizes(ghost).items():
        by_part[part_of[name]] += size
    return {
        "model": root,
        "input_shape": list(input_shape),
        "output": _shapes(result),
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
        "parameters": {
            "total": total,
            "trainable": trainable,
            "by_part": _without_empty_rest(by_part),
        },
        "weights_bytes": weights,
        "paper_params_m": round((total + 2 * trainable + buffers) / 1e6, 2),
        "flops": total_flops,
        "macs": total_flops // 2,
        "flops_by_part": _without_empty_rest(flops_by_part),
        "convention": CONVENTION,
    }


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
    """Numbers in each parameter by its name; a shared one counts once, and what a module's ``padding_of`` says is zero
    always is none."""
    sizes = {name: parameter.numel() for name, parameter in module.named_parameters()}
    for prefix, child in module.named_modules():
        for name, count in getattr(child, "padding_of", {}).items():
            sizes[f"{prefix}.{name}" if prefix else name] -= count
    return sizes


def _kept_buffers(module: "torch.nn.Module") -> "list[tuple[str, torch.Tensor]]":
    """Buffers that a checkpoint holds."""
    kept = module.state_dict(keep_vars=True)
    return [(name, buffer) for name, buffer in module.named_buffers() if name in kept]


def _count(module: "torch.nn.Module") -> tuple[int, int]:
    """Parameters, and those of them that are trained."""
    sizes = _sizes(module)
    return sum(sizes.values()), sum(sizes[name] for name, p in module.named_parameters() if p.requires_grad)


def _part_of_each(model: "torch.nn.Module", parts: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Parameter's name to the part it belongs to."""
    names = {name for name, _ in model.named_modules()} | {name for name, _ in model.named_parameters()}
    out: dict[str, str] = {}
    for part, members in parts.items():
        for member in members:
            if member not in names:
                raise ValueError(f"part {part!r}: the model has no module or parameter {member!r}")
    for name, _ in model.named_parameters():
        owners = [
            part
            for part, members in parts.items()
            if any(name == member or name.startswith(f"{member}.") for member in members)
        ]
        if len(owners) > 1:
            raise ValueError(f"parameter {name!r} belongs to the parts {', '.join(owners)}; name it in one")
        out[name] = owners[0] if owners else "other"
    return out


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
            f"in the paper  {description['paper_params_m']:.2f} (bytes of weights and moments of AdamW / 4e6)",
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
