"""SD1.5 + IC-Light + IP-Adapter in this process, with the same pixels as ComfyUI."""
