"""Configuration files: those of the previous version, sums of experiments, and wrong ones."""

import tomllib
from pathlib import Path

import pytest

from acusim.errors import ConfigError
from experiments.heads_configurations import TABLE2
from training.config import experiments, load_config, read_config

PREVIOUS = Path(__file__).parent / "previous_version"
"""config.toml of runs as the version before settings were models wrote it."""
EXPERIMENTS = {
    "head": ("A1+C1", ["model.backbone=resnet18", "model.trunk=single", "train.lr=0.001", "train.warmup_epochs=1",
                       "loss.decay_floor=0.05", "augment.flip=0.5"]),
    "hand": ("hand_hrnet+hand_type", ["data.size=64", "train.batch_size=8", "augment.siblings=false"]),
}  # fmt: skip
"""What those runs were started with."""


@pytest.mark.parametrize("task", EXPERIMENTS)
def test_the_configuration_of_a_previous_run_is_read_and_written_unchanged_but_for_new_settings(
    task: str, tmp_path: Path
):
    config = read_config(PREVIOUS / f"{task}.toml")
    lines = iter(config.to_toml().splitlines())
    assert all(line in lines for line in (PREVIOUS / f"{task}.toml").read_text().splitlines())  # in this order
    (tmp_path / "again.toml").write_text(config.to_toml())
    assert read_config(tmp_path / "again.toml") == config
    name, settings = EXPERIMENTS[task]
    assert config == load_config(name).with_settings(settings)
    identity = tomllib.loads((PREVIOUS / f"{task}.toml").read_text())
    del identity["name"]
    assert config.completed(identity) == config.identity, "a previous run could not be resumed"
    identity["train"]["lr"] = 0.5
    assert config.completed(identity) != config.identity


@pytest.mark.parametrize("name", experiments())
def test_an_experiment_comes_back_from_its_text(name: str, tmp_path: Path):
    config = load_config(name)
    (tmp_path / "config.toml").write_text(config.to_toml())
    assert read_config(tmp_path / "config.toml") == config


def test_the_papers_rows_are_taken_as_they_are_printed():
    """D1 stands with B0 there: every mask is 1, whatever B says."""
    for name, config in TABLE2.items():
        found = load_config(config)
        assert found.loss.guided == ("D1" not in name), name
    printed = load_config("A1+B0+C0+D1")
    assert (printed.model.grouping, printed.loss.mask, printed.loss.uncertainty) == ("random", "soft", "paper")
    assert len(TABLE2) == 14, "thirteen combinations, and the baseline"


@pytest.mark.parametrize(("text", "message"), [
    ("[model]\nbackbon = 'resnet18'", r"'backbon' is not a setting of \[model\].*did you mean 'backbone'"),
    ("[models]\nbackbone = 'resnet18'", "'models' is not a section; there are train, model, loss"),
    ("model = 'resnet18'", "'model' is not a section"),
    ("[model]\nbackbone = 'resnet19'", "backbone = 'resnet19' is not one of light, tiny, resnet18"),
    ("[train]\nlr = 'fast'", "lr = 'fast' is not of type float"),
    ("[train]\nlr = nan", "lr = nan is outside"),
    ("[train]\nepochs = 1.5", "epochs = 1.5 is not of type int"),
    ("[train]\nepochs = true", "epochs = True is not of type int"),
    ("[train]\nbest_by = 'pck'", "best_by = 'pck' is not one of micro, macro, joint, error_px, loss"),
    ("[train]\nbatch_size = 6\naccumulate = 4", "batch_size = 6 is not a multiple of accumulate = 4"),
    ("[loss]\ndecay_end = 1", "decay_end = 1.0 is not above decay_start = 25.0"),
    ("[model]\nbackbone = 'resnet18'\nfinal_relu = false", "final_relu = False is for DenseNet"),
    ("[data]\nframes = 'some'", "some"),
    ("[augment]\nflip = 2", "flip = 2 is outside 0..1"),
    ("task = 'foot'", "task = 'foot' is not one of head, hand"),
    ("task = 'hand'\n[data]\nsubject = '('", r"subject = '\(' is not a regular expression"),
    ("task = 'hand'\n[data]\nsize = 100", "size = 100 is not a multiple of 32"),
    ("task = 'hand'\n[metrics]\nk = 0", r"k = 0 is outside 0.001..10"),
])  # fmt: skip
def test_wrong_settings_are_named_with_file_and_what_is_allowed(text: str, message: str, tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    for read in (load_config, lambda name: read_config(Path(name))):
        with pytest.raises(ConfigError, match=message) as error:
            read(str(path))
        assert "mine.toml" in str(error.value)


def test_an_integer_is_a_float_where_one_belongs():
    config = load_config().with_sections({"train": {"lr": 1}})
    assert config == load_config().with_settings(["train.lr=1.0"]) and "lr = 1.0\n" in config.to_toml()


def test_two_experiments_that_contradict_are_refused():
    with pytest.raises(ConfigError, match=r"A1 and A2 both set model\.grouping"):
        load_config("A1+A2")
    with pytest.raises(ConfigError, match="mixes the tasks hand and head"):
        load_config("A1+hand_hrnet")
