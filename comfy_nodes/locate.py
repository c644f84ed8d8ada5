"""Finds the ``acusim`` package that belongs to these nodes and makes it importable; nothing is installed."""

import importlib
import importlib.util
import logging
import sys
from pathlib import Path

NEEDS = "0.2.0"
"""The version of acusim that these nodes were written for."""

_WHAT_TO_DO = (
    "AcuSim nodes: the Python package 'acusim' was not found. It is next to the folder comfy_nodes in AcuSim's "
    "repository. Do one of these, then restart ComfyUI: link comfy_nodes into custom_nodes instead of copying it "
    "(ln -s REPOSITORY/comfy_nodes custom_nodes/), or put the whole repository into custom_nodes, or install it into "
    "ComfyUI's Python (pip install --no-deps REPOSITORY)."
)


def locate_acusim() -> None:
    """Registers the acusim package next to this folder's real path, else uses an installed one.

    Raises:
        ImportError: there is none, or the loaded one has another version; the message says what to do.
    """
    sibling = Path(__file__).resolve().parents[1] / "acusim" / "__init__.py"
    if "acusim" not in sys.modules:
        if sibling.is_file():
            _register(sibling)
        elif importlib.util.find_spec("acusim") is None:
            raise ImportError(_WHAT_TO_DO)
    acusim = importlib.import_module("acusim")
    version, place = getattr(acusim, "__version__", "unknown"), Path(acusim.__file__ or "?").resolve()
    if version != NEEDS:
        raise ImportError(
            f"AcuSim nodes: acusim {NEEDS} is required, but acusim {version} is loaded from {place.parent}. Two copies "
            "would be mixed: remove or update one of them, then restart ComfyUI."
        )
    if sibling.is_file() and place != sibling:
        logging.warning("AcuSim nodes: acusim %s is loaded from %s, not from %s", version, place.parent, sibling.parent)


def _register(init: Path) -> None:
    spec = importlib.util.spec_from_file_location("acusim", init, submodule_search_locations=[str(init.parent)])
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["acusim"] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules["acusim"]
        raise
