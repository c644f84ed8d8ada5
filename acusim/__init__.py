"""What an AcuSim dataset is: sample IDs, acupoints, cameras, layout, labels, provenance and keypoint metrics.

    import acusim

    dataset = acusim.open_dataset("data/acusim")
    for sample in dataset:
        image, label = sample.read_image(), sample.read_label()

Needs the standard library, NumPy, Pillow and pydantic only, so that it also loads inside a ComfyUI process; locks and
caches, which run outside one, need filelock and platformdirs, and clusters ray.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from acusim.dataset import Dataset

__version__ = "0.2.0"
__all__ = ["open_dataset"]


def open_dataset(root: str | Path, size: int | None = None) -> "Dataset":
    """Lists the samples of an AcuSim dataset; images, labels and depth maps are read when they are asked for.

    Args:
        root: the folder that holds ``train/image/img_512/…`` and ``train/label/label/…``.
        size: image side in pixels to use, such as 256; None takes 512 where a split has it, else its largest.

    Returns:
        A ``Dataset``; ``len(dataset)``, ``dataset[0]`` and iteration give ``Sample`` objects in a fixed order.
        ``sample.read_image()`` is [H, W, 3] uint8 RGB; ``sample.read_label()`` holds ``xy`` [174, 2] as shares of the
        image and ``listed`` [174], True where the point is visible; ``sample.read_depth()`` is [H, W] uint16
        millimetres, uint8 relative values, or None. ``dataset.problems`` lists the files that cannot be used, each
        with its reason.

    Raises:
        acusim.errors.LayoutError: ``root`` is not a dataset root, or no split has images of this size; names what was
            found there and what to pass instead.
    """
    from acusim.layout import scan

    return scan(root, size)
