"""Creates hands: a jointed hand in invented places, seven acupoints with ray-exact visibility, labelme files.

One module for each concern: subject (who), skeleton (bones and poses), surface (skin as a signed distance field, its
mesh), hand_points (where the acupoints are), skin (what is painted on), places (table and light), camera, render,
labelling, plan and generate (files).
"""

__version__ = "0.2.0"
"""Raised when the same settings give other files."""
