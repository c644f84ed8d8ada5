"""Makes hands: a jointed hand in invented places, seven acupoints with ray-exact visibility, labelme files.

One module a concern: subject (who), skeleton (bones and poses), surface (skin as a signed distance field, its mesh),
points (where the acupoints lie), skin (what is painted on), places (table and light), camera, render, labelling,
plan and generate (files).
"""
