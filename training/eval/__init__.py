"""How good a model is: metrics, trivial baselines, plots and reports."""
