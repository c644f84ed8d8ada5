"""What the gate costs a relight batch at 512², and what judging every picture in full would cost.

    python -m benchmarks.gate_speed [--pictures 180] [--workers 2] [--repeat 2]

Peer, in the same run: the same batch without a gate. Rates count from the first worker's open engine on; the best of
--repeat runs, in turn. The full certificate, which pictures of the diffusion engines get, is timed on the same
pictures on one core, the reading of the original included.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2

from acusim.labels import read_label
from acusim.layout import scan
from acusim.pictures import read_file, read_rgb
from controller.batch import run_batch
from controller.gate_settings import GateSettings
from controller.progress import Progress
from controller.settings import BatchSettings
from engines.options import RelightOptions
from engines.recipe import Recipe
from evaluation.certificate import Judge
from evaluation.reference import sample_reference

ROOT = Path(__file__).resolve().parents[1]
JUDGED = 24


def rate(settings: BatchSettings) -> float:
    """Pictures a second of one batch."""
    start = time.perf_counter()
    summary = run_batch(settings, Progress(quiet=True))
    assert summary.created == summary.planned and summary.fatal is None, summary
    return summary.created / (time.perf_counter() - start - (summary.seconds_to_open or 0.0))


def certificate_ms(dataset: Path, augmented: Path) -> float:
    """Milliseconds of the full certificate of a picture, on one core."""
    cv2.setNumThreads(1)
    judge, seconds = Judge(), 0.0
    samples = scan(dataset).samples[:: max(1, len(scan(dataset).samples) // JUDGED)]
    for sample in samples:
        pixels, relit = (read_rgb(root / sample.image).pixels for root in (dataset, augmented))
        label, depth = read_label(dataset / sample.label), read_file(dataset / (sample.depth or ""), "depth")
        start = time.perf_counter()
        reference, _ = sample_reference(pixels, depth, label, sample.id.frame)
        judge.compare(reference, relit)
        seconds += time.perf_counter() - start
    return 1000 * seconds / len(samples)


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=180)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        dataset = Path(folder) / "dataset"
        line = [sys.executable, "-m", "synthetic", "--out", str(dataset), "--quiet"]
        subprocess.run([*line, "--identities", str(-(-options.pictures // 45))], check=True, cwd=ROOT)
        best = {"without": 0.0, "with": 0.0}
        for number in range(options.repeat):
            for name, gate in (("without", None), ("with", GateSettings())):
                settings = BatchSettings(
                    dataset=dataset,
                    output=Path(folder) / f"{name}{number}",
                    recipe=Recipe(engine="relight"),
                    limit=options.pictures,
                    gate=gate,
                    engine_options=RelightOptions(workers=options.workers),
                )
                best[name] = max(best[name], rate(settings))
        full = certificate_ms(dataset, Path(folder) / "with0")
    print(f"relight batch, 512², {options.pictures} pictures, {options.workers} workers")
    print(f"  without a gate  {best['without']:6.1f} images/s")
    added = 100 * (best["without"] / best["with"] - 1)
    print(f"  with the gate   {best['with']:6.1f} images/s: {added:.1f} % more time")
    share = 100 * full * best["without"] / options.workers / 1000
    print(f"  certificate     {full:6.1f} ms a picture on one core, which would be {share:.0f} % more")


if __name__ == "__main__":
    main()
