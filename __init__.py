"""Lets a clone of this repository lie in ComfyUI's ``custom_nodes`` as it is: hands on what ``comfy_nodes`` offers."""

if __package__:  # empty where a test runner loads this file by itself
    from .comfy_nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

    WEB_DIRECTORY = "./comfy_nodes/web"

    __all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS", "WEB_DIRECTORY"]
