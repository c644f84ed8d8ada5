"""The cache: equal to decoding, built once, and never wrong in silence."""

import os
import shutil
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from acusim.errors import OutputError, PictureError
from acusim.files import is_part, sha256
from acusim.pictures import encode, read_rgb
from tests.support import ROOT
from tests.training.data.heads import SIZE, head
from training.data import cache as cache_module
from training.data import shards
from training.data.cache import open_cache
from training.data.shards import Source, open_shard


def no_progress(what: str, done: int, total: int) -> None:
    """Nobody looks."""


@pytest.fixture
def pictures(tmp_path):
    """Six picture files as sources."""
    out = []
    for number in range(6):
        path = tmp_path / f"p{number}.png"
        path.write_bytes(encode(head(number), ".png"))
        out.append(Source(path, path.name, sha256(path.read_bytes()), SIZE))
    return out


@pytest.fixture
def small_shards(monkeypatch):
    """Two pictures a shard."""
    monkeypatch.setattr(shards, "_SHARD_PICTURES", 2)


def opened(folder: Path, sources, output: list[str] | None = None, size: int = SIZE, workers: int = 1):
    """The cache, and which sources it holds, and why not the others."""
    return open_cache(folder, sources, size, workers, no_progress, (output if output is not None else []).append)


def shard_files(folder: Path) -> list[Path]:
    return sorted((folder / f"img_{SIZE}").glob("*.pictures"))


def agrees(cache, sources) -> bool:
    return all((cache[i] == read_rgb(source.path).pixels).all() for i, source in enumerate(sources))


def test_a_second_start_decodes_nothing_and_gives_the_same(tmp_path, pictures, small_shards, monkeypatch):
    first, kept, reasons = opened(tmp_path / "c", pictures)
    assert agrees(first, pictures) and kept == list(range(6)) and not reasons
    assert len(shard_files(tmp_path / "c")) == 3
    monkeypatch.setattr(cache_module, "make_shard", None)
    again, _, _ = opened(tmp_path / "c", pictures[::-1])
    assert agrees(again, pictures[::-1])
    out = np.zeros((2, SIZE, SIZE, 3), np.uint8)
    again.read([5, 0], out)
    assert (out[0] == head(0)).all() and (out[1] == head(5)).all()
    assert np.abs(again.thumbnails()[5].astype(float) - head(0).mean(2).reshape(32, 2, 32, 2).mean((1, 3))).mean() < 20


def test_more_pictures_add_a_shard_and_keep_the_others(tmp_path, pictures, small_shards):
    opened(tmp_path / "c", pictures[:4])
    before = {path.name: path.stat().st_mtime_ns for path in shard_files(tmp_path / "c")}
    cache, _, _ = opened(tmp_path / "c", pictures)
    after = {path.name: path.stat().st_mtime_ns for path in shard_files(tmp_path / "c")}
    assert agrees(cache, pictures) and before.items() < after.items() and len(after) == 3


def test_a_changed_file_is_another_picture(tmp_path, pictures):
    opened(tmp_path / "c", pictures)
    pictures[0].path.write_bytes(encode(head(50), ".png"))
    changed = [Source(pictures[0].path, "p0.png", sha256(pictures[0].path.read_bytes()), SIZE), *pictures[1:]]
    cache, _, _ = opened(tmp_path / "c", changed)
    assert (cache[0] == head(50)).all() and agrees(cache, changed)


def test_a_file_that_changes_after_it_was_hashed_is_set_aside(tmp_path, pictures):
    pictures[2].path.write_bytes(encode(head(51), ".png"))
    cache, kept, reasons = opened(tmp_path / "c", pictures)
    assert kept == [0, 1, 3, 4, 5] and "changed meanwhile" in reasons[2] and len(cache) == 5


def test_a_flipped_byte_is_reported_and_decoded_again(tmp_path, pictures):
    opened(tmp_path / "c", pictures)
    (shard,) = shard_files(tmp_path / "c")
    damage(shard, 2 * SIZE * SIZE * 3 + 100)
    output: list[str] = []
    cache, _, _ = opened(tmp_path / "c", pictures, output)
    assert not output, "pixels are checked when they are first read"
    assert agrees(cache, pictures)
    assert len(output) == 1 and "p2.png" in output[0] and "damaged" in output[0]
    assert agrees(cache, pictures) and len(output) == 1
    later: list[str] = []
    cache, _, _ = opened(tmp_path / "c", pictures, later)
    assert agrees(cache, pictures) and not later, "the entry was mended on the disk"


def test_a_flipped_byte_whose_file_is_gone_is_an_error_not_a_picture(tmp_path, pictures):
    opened(tmp_path / "c", pictures)
    damage(shard_files(tmp_path / "c")[0], 7)
    pictures[0].path.unlink()
    cache, _, _ = opened(tmp_path / "c", pictures)
    with pytest.raises(PictureError, match=r"p0\.png"):
        cache[0]
    assert (cache[1] == head(1)).all()


def test_a_damaged_entry_in_a_cache_that_cannot_be_written_is_kept_in_memory(tmp_path, pictures, monkeypatch):
    opened(tmp_path / "c", pictures)
    damage(shard_files(tmp_path / "c")[0], 7)
    monkeypatch.setattr(cache_module, "repair", lambda *_: False)
    output: list[str] = []
    cache, _, _ = opened(tmp_path / "c", pictures, output)
    assert agrees(cache, pictures) and agrees(cache, pictures) and len(output) == 1


def damage(path: Path, at: int) -> None:
    """Flips a byte."""
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["truncated", "end", "index", "thumbnails", "empty", "longer"])
def test_a_damaged_shard_is_made_again(tmp_path, pictures, small_shards, how):
    opened(tmp_path / "c", pictures)
    bad = shard_files(tmp_path / "c")[1]
    data = bad.read_bytes()
    thumbnails = 2 * SIZE * SIZE * 3
    if how in ("truncated", "empty"):
        bad.write_bytes(data[: len(data) // 2 if how == "truncated" else 0])
    elif how == "longer":
        bad.write_bytes(b"x" + data)
    else:
        damage(bad, {"end": -1, "index": -40, "thumbnails": thumbnails + 5}[how] % len(data))
    output: list[str] = []
    cache, _, _ = opened(tmp_path / "c", pictures, output)
    assert agrees(cache, pictures) and len(output) == 1 and bad.name in output[0] and "decoded again" in output[0]
    assert bad.read_bytes() == data


def test_what_a_killed_builder_left_is_removed(tmp_path, pictures):
    opened(tmp_path / "c", pictures[:2])
    part = tmp_path / "c" / f"img_{SIZE}" / ".acusim-0123456789ab.part"
    part.write_bytes(b"half")
    opened(tmp_path / "c", pictures)
    assert not part.exists()


def test_too_little_space_is_reported_before_anything_is_written(tmp_path, pictures, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(OutputError, match=r"6 pictures need 80,\d\d\d bytes and 1,000 are free"):
        opened(tmp_path / "c", pictures)
    assert not shard_files(tmp_path / "c")


def test_a_full_disk_leaves_no_half_shard(tmp_path, pictures, monkeypatch):
    def full(path, pieces):
        next(iter(pieces))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shards, "write_atomic", full)
    with pytest.raises(OutputError, match="No space left"):
        opened(tmp_path / "c", pictures)
    monkeypatch.undo()
    cache, _, _ = opened(tmp_path / "c", pictures)
    assert agrees(cache, pictures)


def test_no_picture_at_all_writes_no_shard(tmp_path, pictures):
    for source in pictures:
        source.path.unlink()
    cache, kept, reasons = opened(tmp_path / "c", pictures)
    assert len(cache) == 0 and not kept and len(reasons) == 6 and not shard_files(tmp_path / "c")


def test_worker_processes_make_the_same_shards(tmp_path, pictures, small_shards, monkeypatch):
    opened(tmp_path / "one", pictures)
    monkeypatch.setattr(cache_module, "_FEW", 0)
    cache, _, _ = opened(tmp_path / "two", pictures, workers=2)
    assert agrees(cache, pictures)
    contents = [
        {key for path in shard_files(tmp_path / c) for key in open_shard(path, SIZE).keys} for c in ("one", "two")
    ]
    assert contents[0] == contents[1]


BUILDER = """
import sys, time
from pathlib import Path
from training.data import shards
from training.data.records import load
slow, real = float(sys.argv[3]), shards.decode
def decode(*arguments):
    print("decoded", flush=True)
    time.sleep(slow)
    return real(*arguments)
shards.decode = decode
shards._SHARD_PICTURES = 2
data = load([Path(sys.argv[1])], size=64, cache_dir=Path(sys.argv[2]), say=lambda text: print("said", text, flush=True))
print("digest", data.digest, flush=True)
"""


def builder(root: Path, folder: Path, slow: float) -> "subprocess.Popen[str]":
    line = [sys.executable, "-c", BUILDER, str(root), str(folder), str(slow)]
    return subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_of_two_trainers_one_decodes_and_the_other_waits_and_says_so(heads, tmp_path):
    root = heads()
    first = builder(root, tmp_path / "c", 0.25)
    assert first.stdout is not None and first.stdout.readline() == "decoded\n"
    second = builder(root, tmp_path / "c", 0.0)
    texts = [first.communicate(timeout=60)[0], second.communicate(timeout=60)[0]]
    assert texts[0].count("decoded") == 7, "and the one that was read above"
    assert "decoded" not in texts[1] and "this one waits for it" in texts[1]
    assert len({text.split("digest ")[1] for text in texts}) == 1


def test_a_killed_builder_loses_nothing_that_was_finished(heads, tmp_path, read):
    root = heads()
    killed = builder(root, tmp_path / "cache", 0.1)
    assert killed.stdout is not None
    for _ in range(6):  # two shards of two are there, a third is being written
        assert killed.stdout.readline() == "decoded\n"
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=20)
    place = tmp_path / "cache" / f"img_{SIZE}"
    assert len(shard_files(tmp_path / "cache")) == 2 and any(is_part(path.name) for path in place.iterdir())
    counted: list[int] = []
    data = read(root, progress=lambda what, done, total: counted.append(total) if what == "decode" else None)
    assert set(counted) == {4}, "the four pictures of the finished shards are not decoded again"
    assert all((data.cache[i] == read_rgb(root / r.image).pixels).all() for i, r in enumerate(data.records))
    assert not any(is_part(path.name) for path in place.iterdir())


def test_hashes_are_remembered_until_a_file_changes(heads, read, monkeypatch):
    root = heads()
    first = read(root)
    counted: list[int] = []

    def progress(what: str, done: int, total: int) -> None:
        if what == "read":
            counted.append(total)

    assert read(root, progress=progress).digest == first.digest and not counted
    path = root / first.records[0].image
    status = path.stat()
    path.write_bytes(encode(head(77), ".png"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    data = read(root, progress=progress)
    assert counted == [1] and (data.cache[0] == head(77)).all() and data.digest != first.digest


@pytest.mark.parametrize("damage_at", [0, 4096 + 5])
def test_a_damaged_memory_is_begun_anew(heads, read, tmp_path, damage_at):
    root = heads()
    first = read(root)
    known = tmp_path / "cache" / "known.sqlite"
    data = bytearray(known.read_bytes())
    data[damage_at : damage_at + 200] = b"\xff" * 200
    known.write_bytes(data)
    output: list[str] = []
    assert read(root, say=output.append).digest == first.digest
    assert any("known.sqlite is damaged" in text for text in output)
    output.clear()
    assert read(root, say=output.append).digest == first.digest and not output


def test_the_end_of_a_shard_holds_what_the_docstring_says(tmp_path, pictures):
    opened(tmp_path / "c", pictures)
    shard = open_shard(shard_files(tmp_path / "c")[0], SIZE)
    assert shard.crcs[0] == zlib.crc32(head(0).tobytes()) and shard.keys[0] == pictures[0].sha256
    assert shard.sides == (SIZE,) * 6 and shard.path.read_bytes()[: SIZE * SIZE * 3] == head(0).tobytes()


def test_litter_in_the_cache_is_left_alone(tmp_path, pictures, small_shards):
    opened(tmp_path / "c", pictures)
    litter = [path.with_name(f"._{path.name}") for path in shard_files(tmp_path / "c")]
    for path in litter:
        path.write_bytes(b"\0\5\x16\7")
    output: list[str] = []
    assert agrees(opened(tmp_path / "c", pictures, output)[0], pictures)
    assert not output and all(path.is_file() for path in litter)
