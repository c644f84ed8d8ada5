"""Acupoint detectors: data, models, losses, the training loop, metrics and export."""
