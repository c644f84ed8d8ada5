"""Trained models at work: loading, prediction, drawing, export."""
