"""Devices and processes; tests/training/cli/test_commands.py has two processes."""

import pytest
import torch
from torch import nn

from acusim.errors import ConfigError
from training.hardware import Hardware


def test_one_process_is_alone():
    hardware = Hardware("cpu")
    assert (hardware.rank, hardware.world, hardware.is_main) == (0, 1, True)
    values = torch.tensor([1.0, 2.0])
    assert torch.equal(hardware.sum(values), values)
    assert hardware.gather({"a": 1}) == [{"a": 1}]
    assert hardware.any(True) and not hardware.any(False)
    module = nn.Linear(2, 2)
    assert hardware.wrap(module, compiled=False) is module
    with hardware.main_first(), hardware.syncing(module, wanted=False):
        hardware.wait()
    hardware.close()


def test_clipping_limits_the_norm_of_all_gradients():
    parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]
    for parameter, gradient in zip(parameters, ([3.0, 0.0], [4.0]), strict=True):
        parameter.grad = torch.tensor(gradient)
    Hardware("cpu").clip(iter(parameters), 1.0)
    found = torch.cat([parameter.grad for parameter in parameters])
    assert torch.allclose(found, torch.tensor([0.6, 0.0, 0.8]), atol=1e-5)


def test_the_configuration_of_accelerate_decides_no_result(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    accelerator = Hardware("cpu").accelerator
    assert (accelerator.mixed_precision, accelerator.gradient_accumulation_steps) == ("no", 1)


@pytest.mark.parametrize(("device", "message"), [("gpu", "is not auto, cpu, cuda"), ("cuda:99", "write --device cpu")])
def test_a_device_that_is_not_available_is_refused(device: str, message: str):
    with pytest.raises(ConfigError, match=message):
        Hardware(device)
