"""Engine embedded's models on one device: images a second by batch size, peak memory, share of the device's peak.

    python -m tools.random_weights --full --out MODELS
    python -m benchmarks.embedded_gpu --models MODELS [--batches 1,2,4,8,16] [--compile] [--size 512] [--steps 20]

Peer: a bare matrix product of 8192 x 8192 in the same precision, measured in the same run, whose FLOP/s stand for what
the device can do. FLOPs of an image are counted by torch. Each figure is the best of --repeat runs after a warm-up; it
includes encoding, sampling with guidance and decoding, but no files. ``--compile`` measures the eager models first,
then the compiled ones. Without a GPU it runs on the CPU (use small sizes); memory is then the peak of the process,
models included.
"""

import argparse
import time
from pathlib import Path

import psutil
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.embedded_speed import Watch
from benchmarks.timing import best_of
from engines.embedded.hardware import describe, is_out_of_memory, place, release_memory
from engines.embedded.models import Files, Models, Placement
from engines.embedded.pipeline import NamedImage, Pipeline, noise_of
from engines.embedded.weight_files import ready_weights
from engines.options import EmbeddedOptions
from engines.recipe import Recipe

ROOT = Path(__file__).resolve().parents[1]
SIDE = {"cuda": 8192, "cpu": 2048}


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def matrix_flops(placement: Placement, repeat: int) -> float:
    """FLOP/s of a bare matrix product."""
    side = SIDE[placement.device.type]
    matrix = torch.randn(side, side, device=placement.device).to(placement.dtype)
    return 2 * side**3 / best_of(repeat + 2, lambda: matrix @ matrix, _wait)


def measure(pipeline: Pipeline, options: argparse.Namespace, peak: float, name: str) -> None:
    """One line for each batch size."""
    device = pipeline.models.placement.device
    scene = NamedImage("scene", torch.rand(1, 3, 768, 1024, device=device))
    for size in options.batches:
        pictures = torch.rand(size, 3, options.size, options.size, device=device)
        noise = noise_of(range(size), options.size, options.size).to(device)

        def make(pictures: torch.Tensor = pictures, noise: torch.Tensor = noise) -> None:
            pipeline.decode(pipeline.latents(pictures, noise, "portrait of a woman", "cartoon", scene))

        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        try:
            with Watch(psutil.Process()) as watch:
                started = time.perf_counter()
                make()
                _wait()
                first = time.perf_counter() - started
                seconds = best_of(options.repeat, make, _wait)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            release_memory()
            print(f"  {name:9} batch {size:3}: does not fit into memory")
            return
        memory = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else watch.anonymous
        flops = options.flops * size / seconds
        print(
            f"  {name:9} batch {size:3}: {size / seconds:7.3f} images/s, {memory:5.2f} GiB, "
            f"{flops / 1e12:6.2f} TFLOP/s, {flops / peak:.2f} of the matrix product's; first batch {first:.1f} s",
            flush=True,
        )


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="folder of models")
    parser.add_argument("--recipe", type=Path, default=ROOT / "tools/random_weights.toml", help="model files")
    parser.add_argument(
        "--batches", type=lambda text: [int(part) for part in text.split(",")], default=[1, 2, 4, 8, 16]
    )
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--low-memory", action="store_true")
    options = parser.parse_args()
    recipe = Recipe.from_dict({"engine": "embedded", "steps": options.steps}, Recipe.from_toml(options.recipe))
    found, _ = ready_weights(recipe, options.models)
    files = Files(**{role: file.path for role, file in found.items() if file.path})
    print(f"{options.size} x {options.size}, {options.steps} steps, guidance, wiring {recipe.wiring}")
    peak = 0.0
    for compiled in (False, True) if options.compile else (False,):
        placement = place(EmbeddedOptions(device=options.device, precision=options.precision))
        placement = Placement(placement.device, placement.precision, compiled, options.low_memory)
        pipeline = Pipeline(Models(files, placement), recipe)
        if not compiled:
            peak = matrix_flops(placement, options.repeat)
            print(f"{describe(placement)}; matrix product {peak / 1e12:.2f} TFLOP/s")
            picture = torch.rand(1, 3, options.size, options.size, device=placement.device)
            noise = noise_of([0], options.size, options.size).to(placement.device)
            # The plain convolutions' FLOPs: fewer multiplications are part of what is measured.
            plain = Pipeline(Models(files, placement, plain=True), recipe)
            with FlopCounterMode(display=False) as counter:
                plain.decode(plain.latents(picture, noise, "portrait", "cartoon", NamedImage("scene", picture)))
            options.flops = counter.get_total_flops()
            del plain
            print(f"{options.flops / 1e12:.2f} TFLOP an image")
        measure(pipeline, options, peak, "compiled" if compiled else "eager")


if __name__ == "__main__":
    main()
