"""Heads in three dimensions: triangulated persons, their template, and its fit to the points of pictures.

Plain arrays in and out, in the order of ``acupoints.NAMES``; no picture, no network.

triangulation.py  labels of one person over views -> positions in mm, with their residuals
template.py       persons -> mean head and its shapes; fills points that no view of a person shows
projection.py     cameras of many pictures: projection, rotations, pose angles
fit.py            camera, pose and shapes of the template for given points; confidence
refinement.py     second pass: pictures brought to the rig's framing, and the combination of both passes
"""
