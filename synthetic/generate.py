"""Makes a data set of heads: what each view's files hold.

What a file holds depends on seed, identity and frame alone; so any number of workers, in any order,
interrupted or not, ends at the same bytes.
"""

import io
from collections.abc import Callable
from functools import partial
from typing import Any

from synthetic import __version__
from synthetic.identity import Identity, identity
from synthetic.plan import Settings, Task, open_tasks, prepare, sample_paths
from synthetic.workers import StopFlag, Summary, TaskResult, peak_rss_mb, run_tasks, write_files

DEPTH_PNG_COMPRESSION = 1


def provenance_record(settings: Settings, who: Identity, frame: int, light: dict[str, Any]) -> dict[str, Any]:
    """What is embedded in each picture: no time, no path."""
    return {
        "generator": "synthetic",
        "version": __version__,
        "seed": settings.seed,
        "identity": who.describe(),
        "frame": frame,
        "size": settings.size,
        "quality": settings.quality,
        "light": {"mode": settings.light, **light},
    }


def encode_depth(depth_mm: Any) -> bytes:
    """[S, S] uint16 mm as a 16-bit PNG."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(depth_mm).save(out, "PNG", compress_level=DEPTH_PNG_COMPRESSION)
    return out.getvalue()


def encode_jpeg(pixels: Any, quality: int, record: dict[str, Any]) -> bytes:
    """[S, S, 3] as a JPEG with its colours at half size (4:2:0), as most programs write one."""
    from PIL import Image

    from acusim.provenance import jpeg_comment

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=quality, subsampling=2, comment=jpeg_comment(record))
    return out.getvalue()


def run_task(settings: Settings, task: Task, stop: StopFlag, report: Callable[[int], None]) -> TaskResult:
    """Makes a task's views, looking at the stop flag before each.

    Raises:
        OutputError: a file cannot be written.
    """
    import cv2

    from acusim.labels import dump_label
    from acusim.pictures import encode
    from synthetic.head import build_head
    from synthetic.labelling import make_label
    from synthetic.lights import studio_light, surroundings, wild_light
    from synthetic.render import render

    cv2.setNumThreads(1)
    made = 0
    if stop.is_set():
        return TaskResult(0, peak_rss_mb())
    who = identity(settings.seed, task.index)
    head = build_head(who, settings.seed)
    panorama = surroundings(settings.seed, who.index) if settings.light == "wild" else None
    for frame in task.frames:
        if stop.is_set():
            break
        light = studio_light() if panorama is None else wild_light(settings.seed, who.index, frame, panorama)
        view = render(head, light, frame, size=settings.size, quality=settings.quality, seed=settings.seed)
        record = provenance_record(settings, who, frame, light.describe())
        jpeg = settings.is_jpeg(task.index)
        paths = sample_paths(settings, who.sample_id(frame), jpeg)
        files = [(paths.label, dump_label(make_label(head, frame)))]
        if paths.depth is not None:
            files.append((paths.depth, encode_depth(view.depth_mm)))
        picture = encode_jpeg(view.rgb, settings.jpeg_quality, record) if jpeg else encode(view.rgb, ".png", record)
        write_files(settings.out, (*files, (paths.image, picture)))
        made += 1
        report(1)
    return TaskResult(made, peak_rss_mb())


def generate(settings: Settings, on_progress: Callable[[int, int], None] | None = None) -> Summary:
    """Makes whatever is missing of a data set.

    Args:
        settings: what to make.
        on_progress: called with (views made so far in this run, views to make).

    Raises:
        ConfigError: the folder was made with other arguments.
        OutputError: the folder cannot be written.
    """
    prepare(settings)
    tasks, finished = open_tasks(settings)
    return run_tasks(
        partial(run_task, settings),
        tasks,
        workers=settings.workers,
        total=sum(len(task.frames) for task in tasks),
        finished=finished,
        on_progress=on_progress,
    )
