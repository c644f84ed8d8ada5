"""Labels and settings in other encodings: made like any other, and the labels' bytes stay as they were."""

import codecs
from collections.abc import Callable
from pathlib import Path

from acusim.files import sha256
from acusim.labels import read_label

Run = Callable[..., object]


def test_labels_in_any_encoding_are_read_and_copied_byte_for_byte(
    make_dataset: Callable[..., Path], command: Run, tmp_path: Path
) -> None:
    root, out = make_dataset(frames=(1,)), tmp_path / "out"
    labels = sorted((root / "train" / "label" / "label").glob("*.json"))
    ways = (lambda text: codecs.BOM_UTF8 + text.encode(), lambda text: text.encode("utf-16"))
    for path, encode in zip(labels, ways, strict=False):
        path.write_bytes(encode(path.read_text(encoding="utf-8")))
    settings = {
        "--recipe": codecs.BOM_UTF8 + b"light_strength = 0.5\n",
        "--prompts": '[[set]]\r\nname = "own"\r\npositive = "光"\r\n'.encode("utf-16"),
    }
    line: list[object] = ["--batch", "--engine", "relight", "--dataset", root, "--output", out, "--workers", 1]
    for option, data in settings.items():
        (tmp_path / f"{option}.toml").write_bytes(data)
        line += [option, tmp_path / f"{option}.toml"]
    command(*line, check=0)
    assert len(labels) >= 2
    for path in labels:
        copied = out / path.relative_to(root)
        assert sha256(copied.read_bytes()) == sha256(path.read_bytes())
        assert read_label(copied).listed.any()
    assert "light_strength = 0.5" in (out / "recipe.toml").read_text(encoding="utf-8")
    assert '"prompt_set":"own"' in (out / "manifest.jsonl").read_text(encoding="utf-8").replace('": "', '":"')
