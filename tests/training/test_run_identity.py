"""Which checkpoints a run may continue from."""

from pathlib import Path

import pytest

from acusim.errors import ConfigError
from training.run_identity import same_task
from training.tasks.hand_config import HandConfig
from training.tasks.head_config import HeadConfig

RUN = Path("run")


def test_what_differs_is_named() -> None:
    config = HeadConfig()
    now = {"config": config.identity, "data": "a"}
    other = config.with_settings(["train.lr=0.1"])
    same_task(now, now, RUN)
    with pytest.raises(ConfigError, match=r"config.train.lr was 5e-05, is 0.1; data was 'a', is 'b'"):
        same_task(now, {"config": other.identity, "data": "b"}, RUN)


@pytest.mark.parametrize("config", [HeadConfig(), HandConfig(name="hand")], ids=["head", "hand"])
def test_settings_that_earlier_runs_lacked_have_their_defaults(config: HeadConfig | HandConfig) -> None:
    old = {**config.identity, "train": {**config.identity["train"]}}
    del old["train"]["freeze"]
    same_task({"config": config.completed(old)}, {"config": config.identity}, RUN)
    changed = config.with_settings(["train.freeze=backbone"])
    with pytest.raises(ConfigError, match=r"config.train.freeze was '', is 'backbone'"):
        same_task({"config": config.completed(old)}, {"config": changed.identity}, RUN)


def test_initial_weights_belong_to_a_run() -> None:
    config = HeadConfig()
    with pytest.raises(ConfigError, match=r"init was None, is 'abc'"):
        same_task({"config": config.identity}, {"config": config.identity, "init": "abc"}, RUN)
