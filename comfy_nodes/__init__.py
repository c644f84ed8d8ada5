"""AcuSim's nodes for ComfyUI: a thin layer over ``acusim``, inside ComfyUI's process.

Works as a link or copy of this folder in ``custom_nodes``, and from a clone of the whole repository there. ComfyUI
names a pack's module by its path, so only relative imports work until ``acusim`` has been located.
"""

from .locate import locate_acusim

locate_acusim()

from . import routes  # noqa: E402  acusim had to be located first
from .pack import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS  # noqa: E402

WEB_DIRECTORY = "./web"

routes.register()

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS", "WEB_DIRECTORY"]
