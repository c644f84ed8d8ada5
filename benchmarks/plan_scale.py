"""A data set of AcuSim's size, 63,936 samples: time and memory of --dry-run, and of a run over a finished OUT.

    python -m benchmarks.plan_scale [--samples 63936]

The pictures are hard links to one small real one, because only names, labels and sizes matter here; the ledger of
the finished OUT is filled with the records that a batch would have written. Peer in the same run: a plain
``os.walk`` with a stat of each file, the least that can be read of such a data set.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from acusim.layout import scan
from controller.ledger import LEDGER_FILE, Done, Ledger

ROOT = Path(__file__).resolve().parents[1]


def build(template: Path, root: Path, samples: int) -> None:
    """Hard-links samples of many models, 144 frames each, from the template's pictures, labels and depth maps."""
    parts = {"image/img_512": ".png", "label/label": ".json", "depth/img_512": ".png"}
    sources = {part: next((template / "train" / part).iterdir()) for part in parts}
    for part in parts:
        (root / "train" / part).mkdir(parents=True)
    shutil.copy(template / "map.txt", root)
    for number in range(samples):
        model, frame = divmod(number, 144)
        hair = ("HA", "HB", "HC", "HD")[model % 4]
        stem = f"{'FM'[model % 2]}_Model{model:03d}_N_{hair}_{'OC'[model % 2]}_{frame + 1:04d}"
        for part, extension in parts.items():
            os.link(sources[part], root / "train" / part / f"{stem}{extension}")


def timed(arguments: list[str]) -> tuple[float, float]:
    """Wall seconds and peak MB of a controller command."""
    command = [sys.executable, str(ROOT / "controller/controller.py"), "--engine", "relight", "--quiet", "--json"]
    line = [*command, *arguments]
    start = time.perf_counter()
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 2):
        raise SystemExit(f"{line} failed")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def walk(root: Path) -> float:
    """Seconds of os.walk with a stat of each file."""
    start = time.perf_counter()
    for folder, _, names in os.walk(root):
        for name in names:
            os.stat(os.path.join(folder, name))
    return time.perf_counter() - start


def finish(root: Path, out: Path) -> None:
    """Turns a one-sample OUT into the finished OUT of the whole data set."""
    with Ledger(out / ".acusim" / LEDGER_FILE) as ledger:
        [(key, record)] = ledger.records()
        digest = record.pop("sha256")
        size, stamp = (out / key).stat().st_size, ledger.states()[key][2] or ""
        samples = scan(root).samples
        ledger.plan(sample.image for sample in samples)
        ledger.finish(
            Done(s.image, 0, digest, size, record | {"image": s.image, "label": s.label, "source": s.image}, 0.1, stamp)
            for s in samples
        )
        ledger.commit()
        for sample in samples:
            pairs = ((key, sample.image), (record["label"], sample.label), (record["depth"], sample.depth))
            for source, target in pairs:
                if target and not (out / target).exists():
                    os.link(out / source, out / target)


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=63_936)
    options = parser.parse_args()
    # The folder is beside the project: a RAM disk may not have room for 400,000 links.
    with tempfile.TemporaryDirectory(dir=ROOT) as folder:
        template, root, out = (Path(folder) / name for name in ("template", "dataset", "out"))
        subprocess.run(
            [sys.executable, "-m", "synthetic", "--out", str(template), "--identities", "1", "--views", "1", "--quiet"],
            check=True,
            cwd=ROOT,
        )
        build(template, root, options.samples)
        peer = walk(root)
        wall, memory = timed(["--dry-run", "--dataset", str(root)])
        print(f"{options.samples} samples")
        print(f"  os.walk + stat          {peer:6.2f} s")
        print(f"  --dry-run               {wall:6.2f} s, {memory:5.0f} MB; ratio to os.walk {wall / peer:.1f}")
        timed(["--batch", "--limit", "1", "--dataset", str(root), "--output", str(out)])
        finish(root, out)
        wall, memory = timed(["--batch", "--dataset", str(root), "--output", str(out)])
        print(f"  --batch, all done       {wall:6.2f} s, {memory:5.0f} MB; ratio to os.walk {wall / peer:.1f}")


if __name__ == "__main__":
    main()
