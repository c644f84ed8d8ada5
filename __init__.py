"""Makes a clone of this repository a node pack in ComfyUI's ``custom_nodes``: re-exports ``comfy_nodes``."""

if __package__:  # empty where a test runner loads this file by itself
    from .comfy_nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

    WEB_DIRECTORY = "./comfy_nodes/web"

    __all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS", "WEB_DIRECTORY"]
