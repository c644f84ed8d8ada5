"""The list of nodes."""

from typing import Any

from .background import AcuSimBackground
from .depth import AcuSimDepth
from .light_transfer import AcuSimLightTransfer
from .load import AcuSimLoadSamples
from .noise import AcuSimNoise
from .prompts import AcuSimPromptSet
from .save import AcuSimSaveSamples
from .scene import AcuSimLoadScene

NODES: tuple[tuple[type[Any], str], ...] = (
    (AcuSimLoadSamples, "AcuSim Load Samples"),
    (AcuSimPromptSet, "AcuSim Prompt Set"),
    (AcuSimLoadScene, "AcuSim Load Scene"),
    (AcuSimDepth, "AcuSim Depth"),
    (AcuSimLightTransfer, "AcuSim Light Transfer"),
    (AcuSimBackground, "AcuSim Background"),
    (AcuSimNoise, "AcuSim Noise"),
    (AcuSimSaveSamples, "AcuSim Save Samples"),
)
"""Each node with the name that the editor shows; a node's ID is its class name."""

NODE_CLASS_MAPPINGS: dict[str, type[Any]] = {node.__name__: node for node, _ in NODES}
NODE_DISPLAY_NAME_MAPPINGS: dict[str, str] = {node.__name__: title for node, title in NODES}
