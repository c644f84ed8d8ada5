"""The engine that drives live ComfyUI servers (docs/comfyui.md)."""
