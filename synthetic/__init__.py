"""Creates heads in AcuSim's own layout, with the real camera rig and the 174 real acupoints; no foreign data.

One module for each concern: identity (who), anatomy (the mean heads, fitted to the acupoints), head (one person's
meshes), hair, texture, scene and shading (light to pixels), labelling, generate (files), cli.
"""

__version__ = "0.1.0"
