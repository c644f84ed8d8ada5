"""Use of trained models: loading, prediction, drawing, export."""
