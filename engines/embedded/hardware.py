"""Device and precision of the models, and memory."""

import torch

from acusim.errors import EngineError
from engines.embedded.models import Placement
from engines.options import EmbeddedOptions

NO_CUDA = "no CUDA GPU is available"


def place(options: EmbeddedOptions) -> Placement:
    """Where models run, with every "auto" resolved.

    Raises:
        EngineError: the device is not available, or does not support the precision.
    """
    cuda = torch.cuda.is_available()
    if options.device == "cuda" and not cuda:
        built = "" if torch.version.cuda else f", and torch {torch.__version__} is built without CUDA"
        raise EngineError(f"--device cuda: {NO_CUDA}{built}; use --device cpu, or install torch for your GPU's driver")
    device = torch.device("cuda" if cuda and options.device != "cpu" else "cpu")
    precision = options.precision
    if precision == "auto":
        precision = "fp32" if device.type == "cpu" else "bf16" if torch.cuda.is_bf16_supported(False) else "fp16"
    if precision == "fp16" and device.type == "cpu":
        raise EngineError("--precision fp16 is for GPUs; on a CPU use fp32, or bf16 where the processor supports it")
    return Placement(device, precision, options.compile, options.low_memory)


def describe(placement: Placement) -> str:
    """Name, memory or threads, and precision."""
    if placement.device.type == "cpu":
        return f"CPU, {torch.get_num_threads()} threads, {placement.precision}"
    found = torch.cuda.get_device_properties(placement.device)
    return f"{found.name}, {found.total_memory / 2**30:.0f} GiB, {placement.precision}"


def gpu_name(placement: Placement) -> str:
    """Of a GPU its name; "" for a CPU."""
    return "" if placement.device.type == "cpu" else torch.cuda.get_device_properties(placement.device).name


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, on a GPU or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "not enough memory" in str(error)
    )


def release_memory() -> None:
    """Returns cached memory to the GPU."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
