"""The tensors of a model file as torch's: from the file, or, to check whether they fit, from its header alone."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from acusim import tensor_files
from acusim.errors import EngineError, LayoutError
from engines.embedded.scaled import is_beside, names_of_scales

Header = Mapping[str, tensor_files.Tensor]
DTYPES = {
    **{"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16},
    **{"F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2},
}
"""Types that weights are read from."""
OTHERS = {
    **{"BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8},
    **{"I16": torch.int16, "I32": torch.int32, "I64": torch.int64},
}
"""Types of counters and tables of positions; uint8 stands for any other type."""


class Stored(Mapping[str, Tensor]):
    """A file's tensors by name, each read on access; scales are multiplied in, in float32."""

    def __init__(self, header: Header, get: Callable[[str], Tensor], prefix: str = ""):
        self.header = header
        self._get, self._prefix = get, prefix
        self._scales = names_of_scales(header)
        self._names = dict.fromkeys(n.removeprefix(prefix) for n in header if n.startswith(prefix) and not is_beside(n))

    def under(self, prefix: str) -> "Stored":
        """The tensors whose names begin so, by the rest of their names."""
        return Stored(self.header, self._get, self._prefix + prefix)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        whole = self._prefix + name
        value, scale = self._get(whole), self._scales.get(whole)
        if scale is None:
            return value
        factor = self._get(scale).float()
        return value.float() * factor.reshape(-1, *[1] * (value.ndim - 1)) if value.ndim else value.float() * factor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def shapes_only(header: Header) -> Stored:
    """Tensors without numbers, of the types and shapes that a header has."""

    types = {**DTYPES, **OTHERS}

    def get(name: str) -> Tensor:
        entry = header[name]
        return torch.empty(entry.shape, dtype=types.get(entry.dtype, torch.uint8), device="meta")

    return Stored(header, get)


@contextmanager
def open_tensors(path: Path) -> Iterator[Stored]:
    """The tensors of an open file.

    Raises:
        EngineError: it cannot be read, at once or on access to a tensor; or one of its scales is not a finite number.
    """
    with ExitStack() as stack:
        try:
            header = tensor_files.read_header(path)
            file = stack.enter_context(safe_open(path, framework="pt"))
        except LayoutError as error:
            raise EngineError(f"model file {error}") from None
        except Exception as error:  # safetensors raises its own type, OSError, and RuntimeError
            raise _unreadable(path, error) from None

        def get(name: str) -> Tensor:
            try:
                return file.get_tensor(name)
            except Exception as error:
                raise _unreadable(path, error) from None

        for scale in names_of_scales(header).values():
            if not bool(torch.isfinite(get(scale).float()).all()):
                raise EngineError(f"model file {path.name!r} is damaged: the scale {scale} is not a finite number")
        yield Stored(header, get)


def _unreadable(path: Path, error: Exception) -> EngineError:
    return EngineError(f"model file {path.name!r} cannot be loaded: {error}; download it again")
