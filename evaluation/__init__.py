"""Is every label still true? Drift by a face detector beside its own noise, and a certificate for every view."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from acusim.labels import Label
    from evaluation.certificate import Certificate
    from evaluation.thresholds import Thresholds

__all__ = ["certify"]


def certify(
    original: "str | Path | NDArray[Any]",
    augmented: "str | Path | NDArray[Any]",
    *,
    label: "str | Path | Label | None",
    frame: int,
    depth: "str | Path | NDArray[Any] | None" = None,
    thresholds: "Thresholds | None" = None,
) -> "Certificate":
    """Certifies one augmented image, exactly as ``python -m evaluation certify`` does for each pair of a data set.

        certificate = evaluation.certify("before.png", "after.png", label="before.json", frame=1)
        certificate.valid, certificate.trusted, certificate.summary()

    Args:
        original: image file, or [H, W, 3] uint8 RGB.
        augmented: image file, or [H, W, 3] uint8 RGB. One of another size is rejected, with the reason.
        label: the original's label file or Label, with its 174 acupoints; None examines the head without acupoints.
        frame: camera of AcuSim's rig, 1..144; gives millimetres where there is no depth.
        depth: the original's depth map: a file, or [H, W] millimetres along the camera's axis, 0 in the background,
            which are rounded to whole ones as in a file; uint8 is relative. None takes the head from a uniform
            background.
        thresholds: None takes the calibrated defaults.

    Returns:
        The certificate; its arrays have one row for each of the 174 acupoints (none without a label).

    Raises:
        PictureError: an image or the depth map cannot be read or used.
        LabelError: the label file is not in AcuSim's schema.
        ConfigError: there is no such camera.
        ValueError: an array's shape or type is not as described.
    """
    import numpy as np

    from acusim import rig
    from acusim.errors import PictureError
    from acusim.labels import read_label
    from acusim.pictures import read_file, read_rgb
    from evaluation.certificate import Judge
    from evaluation.reference import sample_reference

    rig.check_frame(frame)
    before, after = (
        image if isinstance(image, np.ndarray) else read_rgb(Path(image)).pixels for image in (original, augmented)
    )
    if isinstance(depth, np.ndarray):
        depth_data = _depth_file(depth, before.shape[:2])
    else:
        depth_data = None if depth is None else read_file(Path(depth), "depth map")
    known = read_label(Path(label)) if isinstance(label, str | Path) else label
    reference, notes = sample_reference(before, depth_data, known, frame)
    if notes:
        raise PictureError(f"{notes[0]}; give another depth map or depth=None")
    return Judge(thresholds).compare(reference, after)


def _depth_file(depth: "NDArray[Any]", shape: tuple[int, ...]) -> bytes:
    """An array [H, W] as the file of a depth map: uint8 is relative, everything else millimetres."""
    import numpy as np

    from acusim.pictures import encode_depth

    if depth.shape != shape:
        raise ValueError(f"depth is {depth.shape}; expected {shape} as the original")
    if not (np.isfinite(depth).all() and depth.min() >= 0 and depth.max() <= 65535):
        raise ValueError("depth holds values outside 0..65535 mm; 0 is the background")
    return encode_depth(depth if depth.dtype == np.uint8 else np.round(depth).astype(np.uint16))
