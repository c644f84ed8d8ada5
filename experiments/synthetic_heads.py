"""Measures the synthetic heads and prints what docs/results/synthetic.md quotes.

    python -m experiments.synthetic_heads                        # everything, some minutes
    python -m experiments.synthetic_heads residual visible       # single sections
    python -m experiments.synthetic_heads sheet                  # docs/images/synthetic_contact_sheet.jpg

Sections: residual, visible, detect (needs mediapipe), speed, sheet, mixed (docs/images/synthetic_mixed.jpg).
"""

import argparse
import io
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from acusim import acupoints, layout, pictures, rig
from acusim.labels import read_label
from acusim.sample_id import SampleId
from experiments.sections import run_sections
from synthetic.cameras import camera_of
from synthetic.generate import Summary, generate
from synthetic.head import build_head
from synthetic.identity import HAIR_CODES, SHAPE_DIMS, Identity, identities
from synthetic.lights import studio_light, surroundings, wild_light
from synthetic.measure import (
    SCOPES,
    held_out_residuals_mm,
    real_visible_shares,
    residual_table,
    visibility,
    visible_shares,
)
from synthetic.mixed_light import mixed_light
from synthetic.render import render
from synthetic.settings import CameraMode, HeadSettings, HeadSize, LightMode, Quality

_IMAGES = Path(__file__).parents[1] / "docs" / "images"
SHEET, MIXED_SHEET = _IMAGES / "synthetic_contact_sheet.jpg", _IMAGES / "synthetic_mixed.jpg"
REAL_LABELS = Path(__file__).parents[1] / "tests" / "data" / "acusim"
SHEET_TILE, SHEET_MAX_BYTES = 192, 300_000
SEED = 0


def residuals() -> None:
    """Distance of AcuSim's acupoints from the surface that carries them, per meridian."""
    for gender, label in (("M", "Asher"), ("F", "female template")):
        print(f"\nresidual, mm, mean {gender} head against AcuSim's {label} (inner points left out)")
        print(f"{'':10}{'points':>7}{'median':>8}{'p95':>8}{'max':>8}")
        for name, count, median, p95, worst in residual_table(gender):
            print(f"{name:10}{count:7d}{median:8.2f}{p95:8.2f}{worst:8.2f}")
        held = held_out_residuals_mm(gender)
        held = held[~np.isnan(held)]
        print(f"{'held out':10}{len(held):7d}" + "".join(f"{np.percentile(held, q):8.2f}" for q in (50, 95, 100)))


def _haired_men(count: int) -> list[Identity]:
    men = [who for who in identities(SEED, 200) if who.gender == "M" and who.hair in ("HD", "HF", "HG")]
    return men[:count]


def visible(count: int) -> None:
    """Visible shares of short-haired men beside AcuSim's one haired man, then by hairstyle."""
    real = real_visible_shares()
    seen = [visibility(build_head(who, SEED), rig.FRAMES) for who in _haired_men(count)]
    shares = [visible_shares(one) for one in seen]
    print(f"\nvisible share, %: {count} short-haired men / AcuSim's M_Asher_N_HD")
    print(f"{'':8}" + "".join(f"{name:>12}" for name in ("all", *acupoints.MERIDIANS)))
    for scope in SCOPES:
        cells = [
            f"{100 * np.mean([one[scope][name] for one in shares]):.1f}/{100 * real[scope][name]:.1f}"
            for name in ("all", *acupoints.MERIDIANS)
        ]
        print(f"{scope:8}" + "".join(f"{cell:>12}" for cell in cells))

    _agreement()
    print("\nby hairstyle (one man each, 144 frames): visible share, and of scalp points that face the camera")
    scalp = list(acupoints.SCALP)
    for hair in HAIR_CODES:
        head = build_head(replace(_haired_men(1)[0], hair=hair), SEED)
        one = visibility(head, rig.FRAMES)
        towards = np.stack([rig.camera(frame).center_mm - head.acupoints_mm[scalp] for frame in rig.FRAMES])
        facing = np.einsum("fnc,nc->fn", towards, head.acupoint_normals[scalp]) > 0
        share = one[:, scalp][facing].mean()
        print(f"{hair}  {100 * one.mean():5.1f} %   scalp {100 * share:5.1f} %   {HAIR_CODES[hair]}")


def _agreement() -> None:
    """Point by point against AcuSim's labels of ten frames, on the mean man with short hair."""
    mean = replace(_haired_men(1)[0], size="N", hair="HD", shape=(0.0,) * SHAPE_DIMS)
    head = build_head(mean, SEED)
    files = sorted(REAL_LABELS.glob("M_Asher_N_HD_*.json"))
    real = np.array([read_label(file).listed for file in files])
    synthetic = visibility(head, [SampleId.parse(file.stem).frame for file in files])
    hits, baseline = (synthetic & real).sum(), max(real.mean(), 1 - real.mean())
    print(
        f"\nmean man with HD against {len(files)} real label files, {real.size} point-frames: "
        f"agreement {100 * (synthetic == real).mean():.1f} % (all occluded: {100 * baseline:.1f} %), "
        f"precision {100 * hits / synthetic.sum():.1f} %, recall {100 * hits / real.sum():.1f} %"
    )


def _views(frames: Sequence[int]) -> str:
    return ",".join(map(str, frames))


def detection(count: int, workers: int) -> None:
    """MediaPipe FaceMesh's detection rate by ring and |azimuth|, studio and wild."""
    from mediapipe.python.solutions.face_mesh import FaceMesh  # type: ignore[import-untyped]

    frames = tuple(f for f in rig.FRAMES if abs((rig.camera(f).azimuth_deg + 180) % 360 - 180) <= 60)
    frames = tuple(f for f in frames if rig.camera(f).ring != 2)
    for light in get_args(LightMode):
        found: dict[tuple[int, int], list[bool]] = defaultdict(list)
        missed: list[str] = []
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "heads"
            generate(
                HeadSettings(out=root, identities=count, views=_views(frames), seed=SEED, workers=workers, light=light)
            )
            with FaceMesh(static_image_mode=True, refine_landmarks=True) as detector:
                for sample in layout.scan(root).samples:
                    camera = rig.camera(sample.id.frame)
                    azimuth = round(abs((camera.azimuth_deg + 180) % 360 - 180))
                    pixels = pictures.read_rgb(root / sample.image).pixels
                    result: Any = detector.process(pixels)
                    hit = result.multi_face_landmarks is not None
                    found[(sample.id.frame - 1) // 36, azimuth].append(hit)
                    if not hit and camera.ring == 0 and azimuth <= 45:
                        missed.append(sample.stem)
        print(f"\nFaceMesh detection rate, {count} identities, {light} light, draft 512 (columns: |azimuth|)")
        print("ring elevation" + "".join(f"{a:>7}" for a in range(0, 61, 10)) + "   pictures")
        for ring in (0, 1, 3):
            rates = [f"{np.mean(found[ring, a]):7.3f}" for a in range(0, 61, 10)]
            total = sum(len(found[ring, a]) for a in range(0, 61, 10))
            print(f"{ring} {rig.RING_ELEVATIONS_DEG[ring]:+10.0f}  " + "".join(rates) + f"{total:11d}")
        within = [hit for (ring, a), hits in found.items() if ring == 0 and a <= 45 for hit in hits]
        print(f"elevation 0, |azimuth| <= 45: {np.mean(within):.4f} of {len(within)}")
        print(f"missed: {', '.join(missed) or 'none'}")


def speed(workers: int) -> None:
    """Views a second with building, encoding and writing: draft against fine, and light."""
    print(f"\nspeed, whole run with process start ({workers} workers); 512 px and kept views unless said otherwise")
    rows: dict[str, Summary] = {}
    plans: tuple[tuple[str, Quality, LightMode, CameraMode, int, Sequence[int], HeadSize], ...] = (
        ("draft studio", "draft", "studio", "rig", 2 * workers, rig.KEPT_FRAMES, 512),
        ("draft around", "draft", "studio", "around", workers, rig.KEPT_FRAMES, 512),
        ("draft wild", "draft", "wild", "rig", workers, rig.KEPT_FRAMES, 512),
        ("draft mixed", "draft", "mixed", "rig", workers, rig.KEPT_FRAMES, 512),
        ("fine studio", "fine", "studio", "rig", workers, rig.KEPT_FRAMES[::3], 512),
        ("fine wild", "fine", "wild", "rig", workers, rig.KEPT_FRAMES[::3], 512),
        ("fine mixed", "fine", "mixed", "rig", workers, rig.KEPT_FRAMES[::3], 512),
        ("all views, 512", "draft", "studio", "rig", 2 * workers, rig.FRAMES, 512),
        ("all views, 128", "draft", "studio", "rig", 2 * workers, rig.FRAMES, 128),
    )
    for name, quality, light, cameras, count, frames, size in plans:
        with tempfile.TemporaryDirectory() as folder:
            rows[name] = generate(
                HeadSettings(
                    out=Path(folder) / "heads",
                    identities=count,
                    views=_views(frames),
                    size=size,
                    quality=quality,
                    seed=SEED,
                    workers=workers,
                    light=light,
                    cameras=cameras,
                )
            )
    base = rows["draft studio"].views_per_second
    for name, row in rows.items():
        rate = row.views_per_second
        print(
            f"{name:14}{row.created:5d} views {row.seconds:7.1f} s {rate:7.2f}/s   "
            f"{rate / base:5.2f} of draft studio   peak RSS {row.peak_rss_mb} MB a worker"
        )


def contact_sheet() -> None:
    """Writes the contact sheet: eight persons, studio and wild, under the size limit."""
    people = identities(SEED, 8)
    rows = []
    for who in people:
        head = build_head(who, SEED)
        panorama = surroundings(SEED, who.index)
        tiles = []
        for frame, wild in ((1, False), (5, False), (10, False), (19, False), (34, True), (3, True)):
            light = wild_light(SEED, who.index, frame, panorama) if wild else studio_light()
            tiles.append(render(head, light, frame, size=SHEET_TILE, quality="fine", seed=SEED).rgb)
        rows.append(np.hstack(tiles))
    half = len(rows) // 2
    _write_sheet(SHEET, np.hstack([np.vstack(rows[:half]), np.vstack(rows[half:])]))


def mixed_sheet() -> None:
    """Writes the contact sheet of mixed light: four persons, the second two from cameras off the rig."""
    rows = []
    modes: tuple[CameraMode, ...] = ("rig", "rig", "around", "around")
    for who, mode in zip(identities(SEED, 4), modes, strict=True):
        head = build_head(who, SEED, trunk=mode != "rig")
        place = surroundings(SEED, who.index)
        cameras = [camera_of(mode, SEED, who.index, frame) for frame in (1, 3, 34, 37, 41, 109)]
        lit = [(camera, mixed_light(SEED, who.index, camera, place)) for camera in cameras]
        tiles = [render(head, light, camera, size=SHEET_TILE, quality="fine", seed=SEED).rgb for camera, light in lit]
        rows.append(np.hstack(tiles))
    _write_sheet(MIXED_SHEET, np.vstack(rows))


def _write_sheet(path: Path, sheet: NDArray[np.uint8]) -> None:
    stream = io.BytesIO()
    Image.fromarray(sheet).save(stream, "JPEG", quality=84)
    data = stream.getvalue()
    assert len(data) <= SHEET_MAX_BYTES, f"contact sheet is {len(data)} bytes, limit {SHEET_MAX_BYTES}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    print(f"\nwrote {path.name}: {sheet.shape[1]} x {sheet.shape[0]}, {len(data)} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the synthetic heads.")
    parser.add_argument("--identities", type=int, default=16, help="for detect (default 16)")
    parser.add_argument("--men", type=int, default=6, help="short-haired men for visible (default 6)")
    parser.add_argument("--workers", type=int, default=2)
    run_sections(
        parser,
        {
            "residual": lambda _: residuals(),
            "visible": lambda given: visible(given.men),
            "detect": lambda given: detection(given.identities, given.workers),
            "speed": lambda given: speed(given.workers),
            "sheet": lambda _: contact_sheet(),
            "mixed": lambda _: mixed_sheet(),
        },
    )


if __name__ == "__main__":
    main()
