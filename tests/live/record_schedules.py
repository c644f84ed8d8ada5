"""Records the noise schedules of ComfyUI's own modules, for tests/engines/embedded/test_sampling.py.

    PYTHON -m tests.live.record_schedules --comfyui DIR --out tests/data/embedded [--check]

PYTHON is the one that ComfyUI runs with; this needs nothing else of this project's requirements than ComfyUI has. The
code of ComfyUI (--comfyui, a git clone) is called where it lies; no weights are needed, as Stable Diffusion 1.5 has the
schedule that ComfyUI has for a model without settings of its own. All on the CPU. ``--check`` writes nothing and
compares with what was recorded: timesteps and tables must be equal; how many sigmas differ in their last bits is
printed.

Written:

- ``sigmas.json``: commit, version and capability of torch; ``rows``: scheduler, steps and denoise of each schedule, and
  whether its start counts as pure noise;
- ``sigmas.npz``: ``table`` and ``log_table`` [1000] float32, the model's sigmas and their logarithms; for all rows one
  after the other, ``steps`` numbers each: ``sigmas`` float32 (without the 0 at the end), ``log_sigmas`` float32 by
  which the nearest timestep is found, ``timesteps`` int16; SAMPLER.x [2, 4, 8, 8] float32, where 24 steps of
  sgm_uniform lead from ``noise`` with the denoiser x / (1 + sigma squared).
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

SCHEDULERS = ("sgm_uniform", "normal", "karras")
DENOISE = (1.0, 0.9, 0.75, 0.6, 0.5, 0.3)
ODD_STEPS, ODD_DENOISE = (1, 5, 24, 200), (0.99999, 0.99, 0.29, 0.05, 0.01)
"""Schedules at the ends of what a recipe may ask for."""
SAMPLERS = ("dpmpp_2m", "euler")


def cases() -> list[tuple[str, int, float]]:
    """Scheduler, steps and denoise of each row."""
    pairs = [(steps, denoise) for denoise in DENOISE for steps in range(1, 61)]
    pairs += [(200, 1.0)] + [(steps, denoise) for denoise in ODD_DENOISE for steps in ODD_STEPS]
    return [(scheduler, *pair) for scheduler in SCHEDULERS for pair in pairs]


def schedules(samplers: Any, sampling: Any) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Rows and arrays of all schedules."""
    import torch

    model = SimpleNamespace(get_model_object=lambda _name: sampling)
    whole = SimpleNamespace(inner_model=SimpleNamespace(model_sampling=sampling))
    rows: list[dict[str, Any]] = []
    arrays: dict[str, list[np.ndarray]] = {"sigmas": [], "log_sigmas": [], "timesteps": []}
    for scheduler, steps, denoise in cases():
        sigmas = samplers.KSampler(model, steps, "cpu", "dpmpp_2m", scheduler, denoise).sigmas
        assert len(sigmas) == steps + 1 and sigmas[-1] == 0
        pure = bool(samplers.Sampler().max_denoise(whole, sigmas))
        rows.append({"scheduler": scheduler, "steps": steps, "denoise": denoise, "pure_noise": pure})
        sigmas = sigmas[:-1]
        arrays["sigmas"].append(sigmas.numpy())
        arrays["log_sigmas"].append(sigmas.log().numpy())
        # one at a time, as a sampler asks
        timesteps = [int(sampling.timestep(sigma * torch.ones(1))) for sigma in sigmas]
        arrays["timesteps"].append(np.array(timesteps, np.int16))
    return rows, {name: np.concatenate(parts) for name, parts in arrays.items()}


def trajectories(k_diffusion: Any, samplers: Any, sampling: Any) -> dict[str, np.ndarray]:
    """Where the samplers lead with a denoiser that any machine computes alike."""
    import torch

    model = SimpleNamespace(get_model_object=lambda _name: sampling)
    sigmas = samplers.KSampler(model, 24, "cpu", "dpmpp_2m", "sgm_uniform", 1.0).sigmas
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))

    def denoise(x: Any, sigma: Any) -> Any:
        return x / (1 + sigma.view(-1, 1, 1, 1) ** 2)

    start = noise * torch.sqrt(1 + sigmas[0] ** 2)
    out = {f"{name}.x": getattr(k_diffusion, f"sample_{name}")(denoise, start, sigmas).numpy() for name in SAMPLERS}
    return {"noise": noise.numpy(), **out}


def recorded(comfyui: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What is written: content of the JSON file, arrays of the other."""
    # ComfyUI has a package named tests, too; ours is imported by now, so its modules are found and ours stay.
    sys.path[:0] = [str(comfyui)]
    from comfy.cli_args import args  # type: ignore[import-not-found]

    args.cpu = True
    import comfy.k_diffusion.sampling  # type: ignore[import-not-found]
    import comfy.model_sampling  # type: ignore[import-not-found]
    import comfy.samplers  # type: ignore[import-not-found]
    import torch

    sampling = type("Sampling", (comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.EPS), {})()
    rows, arrays = schedules(comfy.samplers, sampling)
    arrays |= {"table": sampling.sigmas.numpy(), "log_table": sampling.log_sigmas.numpy()}
    arrays |= trajectories(comfy.k_diffusion.sampling, comfy.samplers, sampling)
    line = ["git", "-C", str(comfyui), "rev-parse", "HEAD"]
    commit = subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip()
    torch_is = {"version": torch.__version__, "capability": torch.backends.cpu.get_cpu_capability()}
    return {"ComfyUI": commit, "torch": torch_is, "rows": rows}, arrays


def differences(out: Path, content: dict[str, Any], arrays: dict[str, np.ndarray]) -> int:
    """Prints what differs from the files; 1 where something must not."""
    rows = json.loads((out / "sigmas.json").read_text())["rows"]
    wrong = [] if rows == content["rows"] else ["rows"]
    with np.load(out / "sigmas.npz") as before:
        for name, array in arrays.items():
            count = int((array != before[name]).sum())
            print(f"{name}: {count} of {array.size} differ")
            wrong += [name] if count and name in ("table", "log_table", "timesteps") else []
    print(f"must not differ: {', '.join(wrong)}" if wrong else "tables, rows and timesteps are equal")
    return int(bool(wrong))


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--comfyui", required=True, type=Path, metavar="DIR", help="git clone of ComfyUI")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="tests/data/embedded")
    parser.add_argument("--check", action="store_true", help="compare with what was recorded, write nothing")
    options = parser.parse_args(arguments)
    content, arrays = recorded(options.comfyui)
    print(f"ComfyUI {content['ComfyUI']}, torch {content['torch']}")
    if options.check:
        return differences(options.out, content, arrays)
    np.savez_compressed(options.out / "sigmas.npz", **arrays)
    rows = ",\n".join(json.dumps(row, separators=(",", ":")) for row in content.pop("rows"))
    (options.out / "sigmas.json").write_text(json.dumps(content)[:-1] + ', "rows": [\n' + rows + "\n]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
