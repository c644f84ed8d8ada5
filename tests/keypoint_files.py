"""Small data sets of keypoints: pictures of a patch before a busy background, with labelme or COCO files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

SIZE = (96, 80)
CORNERS = [(20, 8), (74, 14), (80, 66), (30, 72)]
"""Of the patch, in pixels."""
POINTS = {"tip": (40.5, 30.25), "root": (60.0, 50.0)}


def patch(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """[H, W, 3] a skin-coloured, textured patch before noise."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8))
    skin = Image.fromarray((rng.normal(0, 14, (size[1], size[0], 1)) + (196, 148, 120)).clip(0, 255).astype(np.uint8))
    inside = Image.new("L", size)
    ImageDraw.Draw(inside).polygon(CORNERS, fill=255)
    image.paste(skin, mask=inside)
    return np.asarray(image)


def labelme(image: str, outline: bool = True, **changes: Any) -> dict[str, Any]:
    """The labelme file of such a picture."""
    shapes: list[dict[str, Any]] = [
        {"label": name, "points": [list(place)], "shape_type": "point", "flags": {}} for name, place in POINTS.items()
    ]
    if outline:
        shapes.append({"label": "hand", "points": [list(corner) for corner in CORNERS], "shape_type": "polygon"})
    size = {"imageWidth": SIZE[0], "imageHeight": SIZE[1]}
    return {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": image, "imageData": None, **size, **changes}


def add_labelme(root: Path, name: str, seed: int = 0, **changes: Any) -> None:
    """Writes a picture and its labelme file."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(patch(seed)).save(path, quality=92)
    path.with_suffix(".json").write_text(json.dumps(labelme(path.name, **changes), indent=1))


def coco(images: list[str], **changes: Any) -> dict[str, Any]:
    """A COCO file of such pictures."""
    flat = [value for place in POINTS.values() for value in (*place, 2)]
    annotation = {"category_id": 7, "iscrowd": 0, "keypoints": flat, "num_keypoints": 2}
    outline = [[value for corner in CORNERS for value in corner]]
    document = {
        "images": [{"id": k, "file_name": name, "width": SIZE[0], "height": SIZE[1]} for k, name in enumerate(images)],
        "annotations": [
            {"id": 100 + k, "image_id": k, "segmentation": outline, **annotation} for k in range(len(images))
        ],
        "categories": [{"id": 7, "name": "hand", "keypoints": [*POINTS]}],
        **changes,
    }
    return json.loads(json.dumps(document))  # no two parts share a list


def add_coco(root: Path, names: list[str], document: dict[str, Any] | None = None) -> None:
    """Writes pictures below images/ and annotations/hands.json."""
    for folder in ("images", "annotations"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(names):
        Image.fromarray(patch(seed)).save(root / "images" / name)
    (root / "annotations" / "hands.json").write_text(json.dumps(document or coco(names)))
