"""What the detector's experiments compare: sections of rows, as data."""

from dataclasses import dataclass

Settings = tuple[str, ...]

# --- Settings, written as the command line's --set takes them. --------------------------------------------------------

COMMON: Settings = ("train.keep=1", "data.val=0.1", "data.test=0")
"""Of every row."""
NO_GEOMETRY: Settings = ("augment.rotation_deg=0", "augment.scale=0", "augment.translate=0")
NO_COLOUR: Settings = (
    "augment.brightness=0", "augment.contrast=0", "augment.gamma=0", "augment.colour=0", "augment.noise=0",
    "augment.blur=0",
)  # fmt: skip
COLOUR: Settings = (
    "augment.brightness=0.15", "augment.contrast=0.4", "augment.gamma=0.6", "augment.colour=0.35", "augment.noise=0.03",
    "augment.blur=0.8",
)  # fmt: skip
"""As the recipe heatmaps has them."""
NO_CHEAP_LIGHT: Settings = ("augment.light=0", "augment.background=0")
CHEAP_LIGHT: Settings = ("augment.light=0.7", "augment.background=0.4")
SMALL_ACUSIMNET: Settings = ("model.backbone=light", "model.trunk=single", "data.size=128")
"""acuSimNet on the light encoder, so that a table compares ways to find points rather than encoders."""
TINY: Settings = ("model.backbone=tiny",)

# --- Data: folders below --data, train/NAME and test/NAME, whose persons differ. --------------------------------------

RIG: Settings = ("rig",)
ORIGINALS: Settings = ("rig", "around")
RELIT: Settings = ("relit_rig", "relit_around")
ALL: Settings = (*ORIGINALS, *RELIT)
"""Roots of the recommended recipe."""
TESTS: dict[str, Settings] = {
    "studio": ("studio",),
    "wild light": ("wild",),
    "around the rig, studio": ("around_studio",),
    "around the rig, wild light": ("around_wild",),
    "mixed light, not Lambertian": ("mixed",),
}
"""Test sets by title: every model is measured on each that exists."""


@dataclass(frozen=True)
class Row:
    """One configuration, trained with several seeds."""

    name: str
    settings: Settings = ()
    roots: Settings = ALL
    """Of the training data; validation pictures are originals. ``{seed}`` in a name becomes that of the run."""
    persons: int = 0
    """Training and validation persons to use; 0 for all."""
    config: str = "heatmaps"
    teacher: str = ""
    """A run or shipped model whose answers are learnt beside the labels."""


@dataclass(frozen=True)
class Section:
    """Rows of one table; every row is compared with the first."""

    title: str
    rows: tuple[Row, ...]


def augmentation_rows(config: str, settings: Settings) -> tuple[Row, ...]:
    """A model trained on originals, and with more and more augmentation; flips and geometry are on in all rows."""
    steps = [
        ("originals", (*NO_COLOUR, *NO_CHEAP_LIGHT), ORIGINALS),
        ("+ colour", (*COLOUR, *NO_CHEAP_LIGHT), ORIGINALS),
        ("+ cheap light", (*NO_COLOUR, *CHEAP_LIGHT), ORIGINALS),
        ("+ relit", (*NO_COLOUR, *NO_CHEAP_LIGHT), ALL),
        ("+ all", (*COLOUR, *CHEAP_LIGHT), ALL),
    ]
    return tuple(Row(name, (*settings, *more), roots, config=config) for name, more, roots in steps)


SECTIONS: dict[str, Section] = {
    "networks": Section(
        "Ways to find points, on the same encoder and pictures",
        (
            Row("heatmaps"),
            Row("heatmaps, augmented as acusimnet_tuned", (*NO_COLOUR, *NO_CHEAP_LIGHT)),
            Row("acusimnet_tuned", SMALL_ACUSIMNET, config="acusimnet_tuned"),
            Row(
                "acusimnet_tuned, augmented as heatmaps",
                (*SMALL_ACUSIMNET, *COLOUR, *CHEAP_LIGHT),
                config="acusimnet_tuned",
            ),
            Row("acusimnet", SMALL_ACUSIMNET, config="acusimnet"),
        ),
    ),
    "ablation": Section(
        "The recommended recipe, less one part at a time",
        (
            Row("recommended"),
            Row("without: heatmaps' cross-entropy", ("heatmap.heatmap=0",)),
            Row("without: positions of occluded points", ("data.occluded=zero", "loss.occluded=0")),
            Row("without: flips", ("augment.flip=0",)),
            Row("without: geometry", NO_GEOMETRY),
            Row("without: colour", NO_COLOUR),
            Row("without: cheap light", NO_CHEAP_LIGHT),
            Row("without: relit pictures", roots=ORIGINALS),
            Row("without: cameras around the rig", roots=("rig", "relit_rig")),
        ),
    ),
    "learning_curve": Section(
        "Persons to learn from", tuple(Row(f"{count} persons", persons=count) for count in (500, 100, 22, 10))
    ),
    "focus": Section(
        "Generation where the model is weak: equal budgets",
        (
            Row("relit evenly", roots=(*ORIGINALS, "even_rig_{seed}", "even_around_{seed}")),
            Row("relit where the model is weak", roots=(*ORIGINALS, "weak_rig_{seed}", "weak_around_{seed}")),
            Row("not relit", roots=ORIGINALS),
        ),
    ),
    "distillation": Section(
        "A small student, with a teacher and without",
        (
            Row("tiny", TINY),
            Row("tiny, taught by head", TINY, teacher="head"),
        ),
    ),
    "augmentation": Section("Augmentation: heatmaps", augmentation_rows("heatmaps", ())),
    "augmentation2": Section("Augmentation: acuSimNet, tuned", augmentation_rows("acusimnet_tuned", SMALL_ACUSIMNET)),
}
