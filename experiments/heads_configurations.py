"""Which configurations the experiments on heads train, by the names of their tables."""

BASE = "C1"
"""What ablations change one thing of, and what light trains: within so few steps the paper's own initial weights (C0)
still spend them on the class heads, whose target never changes."""
ABLATIONS = (BASE, "acusimnet", "C2", "A1+C1", "A2+C1", "A3+C1", "B1+C1", "B2+C1", "acusim")
TABLE2 = {
    **{name: name for name in ("A0+B0+C0", "A1+B0+C0", "A2+B0+C0")},
    "acuSim: A3, B2 and C2": "acusim",
    **{name: name for name in ("A0+B1+C0", "A0+B0+C1", "A1+B0+C0+D1", "A0+B1+C1", "A1+B0+C1", "A1+B1+C0")},
    **{name: name for name in ("A1+B1+C1", "A2+B0+C1", "A2+B1+C0", "A2+B1+C1")},
}
"""The rows of the paper's Table 2 by its own names, each once; what it calls A3, B2 and C2 there is the acuSim
baseline, and D1 stands with A1, as it is printed."""
LIGHTS = {"originals": ("originals", 1), "relit": ("augmented", 2), "both": ("all", 3)}
"""What is trained on -> data.train_pictures, and how many times as many pictures these are."""
FAST = ("train.lr=0.001", "train.schedule=cosine", "train.warmup_epochs=1")
RECIPES: dict[str, tuple[int, tuple[str, ...]]] = {
    "paper: AdamW 5e-5, constant, log sigma from 0, 1, -5": (150, ()),
    "the same, 1e-3": (40, ("train.lr=0.001",)),
    "1e-3, cosine, warm-up, log sigma from 0": (40, (*FAST, "loss.uncertainty=zeros")),
    "the same, ImageNet's scaling of pictures, heads from 0, no dropout": (
        40,
        (*FAST, "loss.uncertainty=zeros", "model.normalise=imagenet", "model.final_scale=0", "model.dropout=0"),
    ),
}
"""Epochs and settings that differ from the paper's."""
