"""What an AcuSim dataset is: sample IDs, acupoints, cameras, layout, labels, provenance and keypoint metrics.

Needs the standard library, numpy and Pillow only, so that it also loads inside a ComfyUI process.
"""

__version__ = "0.2.0"
