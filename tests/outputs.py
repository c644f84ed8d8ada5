"""Makes one small example of each output that a processor's arithmetic may show in, for tests/test_processors.py.

    python -m tests.outputs DATASET OUT

Run under a profile of tests.processors. Each part starts from the same bytes (DATASET, a seed, a formula), so that a
difference belongs to that part. Written below OUT: ``files/``, whose bytes are compared, and ``numbers.npz``.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from acusim.layout import scan
from acusim.pictures import encode, read_rgb
from engines.embedded import pipeline, sampling
from evaluation.certificate import Judge
from tests.support import ROOT
from tests.training.models.seeded_weights import seeded_pictures, seeded_state
from training.models.backbones import create

STEPS = 3


def _run(module: str, *arguments: object) -> None:
    subprocess.run([sys.executable, "-m", module, *map(str, arguments)], cwd=ROOT, check=True, capture_output=True)


def encoded(dataset: Path, out: Path) -> None:
    """One picture of the data set as PNG and as JPEG."""
    out.mkdir()
    pixels = read_rgb(dataset / scan(dataset).samples[0].image).pixels
    for extension in (".png", ".jpg"):
        (out / f"picture{extension}").write_bytes(encode(pixels, extension, {}))


def certified(dataset: Path) -> np.ndarray:
    """What the certificate measures of a picture and itself in a light from the left: scores, and shifts of points."""
    pixels = read_rgb(dataset / scan(dataset).samples[0].image).pixels
    light = 160 + 64 * np.arange(pixels.shape[1]) // pixels.shape[1]  # integers, so that both pictures are the same
    lit = (pixels.astype(np.int64) * light[None, :, None] // 256).astype(np.uint8)
    size = pixels.shape[1]
    points = np.array([(x, y) for x in (0.4, 0.5, 0.6) for y in (0.4, 0.5, 0.6)]) * size
    verdict = Judge().judge(pixels, lit, coords_px=points)
    return np.concatenate([[verdict.structure, verdict.texture, verdict.outline.iou], verdict.displacement_px.ravel()])


def trained(out: Path) -> np.ndarray:
    """The weights of a small network after some steps of AdamW, as a file and as numbers."""
    with torch.device("meta"):
        model = create("resnet18")
    model.load_state_dict(seeded_state(model.state_dict()), assign=True)
    model.train().requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    for _ in range(STEPS):
        optimizer.zero_grad()
        model(seeded_pictures((4, 3, 64, 64))).square().mean().backward()
        optimizer.step()
    save_file(model.state_dict(), out / "weights.safetensors")
    return torch.cat([value.detach().flatten() for value in model.parameters()])[::97].numpy()


def main() -> None:
    """Entry point."""
    dataset, out = Path(sys.argv[1]), Path(sys.argv[2])
    files = out / "files"
    files.mkdir(parents=True)
    encoded(dataset, files / "encoded")
    _run("synthetic", "--out", files / "synthetic", "--identities", 1, "--views", "1,10", "--size", 128, "--workers", 1)
    relight = ("--batch", "--engine", "relight", "--workers", 1, "--dataset", dataset, "--output", files / "relit")
    _run("controller", *relight)
    np.savez(
        out / "numbers.npz",
        certificate=certified(dataset),
        weights=trained(files),
        noise=pipeline.noise_of([7], 64, 64).numpy(),
        sigmas=sampling.schedule("sgm_uniform", 24, 1.0).numpy(),
    )


if __name__ == "__main__":
    main()
