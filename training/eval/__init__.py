"""Evaluation of models: metrics, trivial baselines, plots and reports."""
