"""The engine that drives live ComfyUI servers (docs/guide/comfyui.md)."""
