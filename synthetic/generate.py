"""Creates a data set of heads: the content of each view's files.

A file depends on seed, identity and frame alone; so any number of workers, in any order, interrupted or not, gives the
same bytes.
"""

import io
from collections.abc import Callable
from functools import partial
from typing import Any

from acusim.parallel import Work
from synthetic import __version__
from synthetic.identity import Identity, identity
from synthetic.plan import Task, open_tasks, prepare, sample_paths
from synthetic.settings import HeadSettings
from synthetic.workers import Summary, TaskResult, peak_rss_mb, run_tasks, write_files

DEPTH_PNG_COMPRESSION = 1


def _provenance_record(
    settings: HeadSettings, who: Identity, frame: int, camera: dict[str, Any], light: dict[str, Any]
) -> dict[str, Any]:
    """The record embedded in each image: no time, no path."""
    return {
        "generator": "synthetic",
        "version": __version__,
        "seed": settings.seed,
        "identity": who.describe(),
        "frame": frame,
        **camera,
        "size": settings.size,
        "quality": settings.quality,
        "light": {"mode": settings.light, **light},
    }


def _encode_depth(depth_mm: Any) -> bytes:
    """[S, S] uint16 mm as a 16-bit PNG."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(depth_mm).save(out, "PNG", compress_level=DEPTH_PNG_COMPRESSION)
    return out.getvalue()


def _encode_jpeg(pixels: Any, quality: int, record: dict[str, Any]) -> bytes:
    """[S, S, 3] as a JPEG with its colours at half size (4:2:0), as most programs write one."""
    from PIL import Image

    from acusim.provenance import jpeg_comment

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=quality, subsampling=2, comment=jpeg_comment(record))
    return out.getvalue()


def run_task(settings: HeadSettings, task: Task, work: Work) -> TaskResult:
    """Creates a task's views, until it is asked to stop.

    Raises:
        OutputError: a file cannot be written.
    """
    import cv2

    from acusim.labels import dump_label
    from acusim.pictures import encode
    from synthetic.cameras import camera_of, describe
    from synthetic.head import build_head
    from synthetic.labelling import make_label
    from synthetic.lights import studio_light, surroundings, wild_light
    from synthetic.mixed_light import mixed_light
    from synthetic.render import render

    cv2.setNumThreads(1)
    created = 0
    who = identity(settings.seed, task.index)
    head = build_head(who, settings.seed, trunk=settings.cameras != "rig")
    place = surroundings(settings.seed, who.index) if settings.light != "studio" else None
    for frame in task.frames:
        if work.stopping():
            break
        camera = camera_of(settings.cameras, settings.seed, who.index, frame)
        if place is None:
            light = studio_light()
        else:
            light = (mixed_light if settings.light == "mixed" else wild_light)(settings.seed, who.index, camera, place)
        view = render(head, light, camera, size=settings.size, quality=settings.quality, seed=settings.seed)
        record = _provenance_record(settings, who, frame, describe(camera), light.describe())
        jpeg = settings.is_jpeg(task.index)
        paths = sample_paths(settings, who.sample_id(frame), jpeg)
        files = [(paths.label, dump_label(make_label(head, camera)))]
        if paths.depth is not None:
            files.append((paths.depth, _encode_depth(view.depth_mm)))
        picture = _encode_jpeg(view.rgb, settings.jpeg_quality, record) if jpeg else encode(view.rgb, ".png", record)
        write_files(settings.out, (*files, (paths.image, picture)))
        created += 1
        work.report(1)
    return TaskResult(created, peak_rss_mb())


def generate(settings: HeadSettings, on_progress: Callable[[int, int], None] | None = None) -> Summary:
    """Creates the missing views of a data set.

    Args:
        settings: of the data set.
        on_progress: called with (views created so far in this run, views to create).

    Raises:
        ConfigError: the folder was created with other arguments.
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
        out=settings.out,
        cluster=settings.cluster,
        on_progress=on_progress,
    )
