"""Small labelme folders drawn with numpy."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.training.hands.labelme_files import document, pixels


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """Writes picture and label into tmp_path; returns that folder. The picture is unlike those before."""
    count = 0

    def make(
        name: str = "S0001_L_back_0001", label: Any = None, picture: np.ndarray | None = None, **save: Any
    ) -> Path:
        nonlocal count
        count += 1
        image = tmp_path / (name if Path(name).suffix else f"{name}.png")
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(count) if picture is None else picture).save(image, **save)
        content = document(image.name) if label is None else label
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        image.with_suffix(".json").write_text(text, encoding="utf-8")
        return tmp_path

    return make
