"""Files that are missing, wrong, cut off, or somewhere else, and pictures that are none."""

from pathlib import Path

import numpy as np
import pytest

from acusim.errors import AcuSimError, EngineError, PictureError
from acusim.files import sha256
from engines.base import Result
from engines.comfyui.transport import saved_path
from tests.engines.comfyui.conftest import assert_created


def test_cached_answers_with_deleted_files_are_made_once_more(server, new_engine, requests):
    engine = new_engine(server)

    def answer(entries, prompt):
        if len(server.posts) == 1:
            for entry in entries[1:]:
                (server.roots["out"] / entry["file"]).unlink()
        return entries

    server.answer = answer
    assert_created(engine.augment(requests[:3]), requests[:3])
    assert [len(prompt.samples) for prompt in server.posts] == [3, 2], "the one that was there is kept"
    assert server.posts[0].id != server.posts[1].id


WRONG = {
    "no entry": lambda entries: entries[:-1],
    "one more": lambda entries: [*entries, entries[0]],
    "no list": lambda entries: "files",
    "not objects": lambda entries: [1, 2],
    "swapped": lambda entries: entries[::-1],
    "another sample": lambda entries: changed(entries, sample="M_Other_N_HA_0001"),
    "leads out": lambda entries: changed(entries, file="../../../etc/passwd"),
    "absolute": lambda entries: changed(entries, file="/etc/passwd"),
    "another folder": lambda entries: changed(entries, file=entries[0]["file"].replace("staging", "other")),
    "path of another type": lambda entries: changed(entries, file=["x"]),
    "wrong hash": lambda entries: changed(entries, sha256="0" * 64),
    "no hash": lambda entries: changed(entries, sha256=None),
    "wrong length": lambda entries: changed(entries, bytes=5),
    "wrong source": lambda entries: changed(entries, source_sha256="0" * 64),
    "wrong width": lambda entries: changed(entries, width=65),
}


def changed(entries, **fields):
    """The first entry with other values."""
    return [{**entries[0], **fields}, *entries[1:]]


@pytest.mark.parametrize("how", WRONG)
def test_wrong_answers_are_tried_once_more_then_skipped(server, new_engine, requests, how):
    engine = new_engine(server)
    server.answer = lambda entries, prompt: WRONG[how](entries)
    answers = engine.augment(requests[:2])
    assert isinstance(answers[0], AcuSimError) and not isinstance(answers[0], EngineError)
    assert len(server.posts) == 2
    server.answer = lambda entries, prompt: entries
    assert_created(engine.augment(requests[:2]), requests[:2])


def test_a_link_that_leads_out_of_staging_is_not_followed(server, new_engine, requests, tmp_path):
    engine = new_engine(server)

    def answer(entries, prompt):
        path = server.roots["out"] / entries[0]["file"]
        outside = tmp_path / "outside.png"
        outside.write_bytes(path.read_bytes())
        path.unlink()
        path.symlink_to(outside)
        return entries

    server.answer = answer
    [found] = engine.augment(requests[:1])
    assert "leads out" in str(found)


def file_of(entry, server) -> Path:
    """The file of an entry, in whichever root it is."""
    root = "out" if entry["file"].startswith(".acusim") else "output"
    return server.roots[root] / entry["file"]


@pytest.mark.parametrize("transport", ["shared", "remote"])
def test_a_file_of_another_kind_with_a_true_hash_is_refused(server, new_engine, requests, transport):
    engine = new_engine(server, transport=transport)

    def answer(entries, prompt):
        data = b"<html>not a picture</html>"
        file_of(entries[0], server).write_bytes(data)
        return changed(entries, sha256=sha256(data), bytes=len(data))

    server.answer = answer
    [found] = engine.augment(requests[:1])
    assert "not a readable PNG" in str(found)


def test_a_picture_of_another_size_is_refused(server, new_engine, requests):
    engine = new_engine(server)
    server.picture = lambda pixels: 255 - pixels[:-1]
    server.answer = lambda entries, prompt: changed(entries, height=64)
    [found] = engine.augment(requests[:1])
    assert "not an RGB picture of 64 x 64" in str(found)


def test_truncated_downloads_are_fetched_again(far_server, new_engine, requests):
    engine = new_engine(far_server)
    seen = []

    def view(handler, body):
        seen.append(handler.path)
        if len(seen) > 2:
            return False
        handler.send_response(200)
        handler.send_header("Content-Length", "5000")
        handler.end_headers()
        handler.wfile.write(b"\x89PNG")
        handler.cut()
        return True

    far_server.hooks["GET /view"] = view
    assert_created(engine.augment(requests[:1]), requests[:1])
    assert (len(seen), len(far_server.posts)) == (3, 1)


def test_downloads_that_always_break_off_skip_the_picture(far_server, new_engine, requests):
    engine = new_engine(far_server)

    def view(handler, body):
        handler.send_response(200)
        handler.send_header("Content-Length", "5000")
        handler.end_headers()
        handler.cut()
        return True

    far_server.hooks["GET /view"] = view
    [found] = engine.augment(requests[:1])
    assert "broke off 3 times" in str(found)


def test_endless_downloads_are_cut(far_server, new_engine, requests):
    engine = new_engine(far_server)
    far_server.hooks["GET /view"] = lambda handler, body: handler.reply(b"\x00" * (4 << 20)) or True
    [found] = engine.augment(requests[:1])
    assert "are expected" in str(found)


def test_downloads_that_lead_elsewhere_are_not_followed(far_server, new_server, new_engine, requests):
    other = new_server(shared=False)
    engine = new_engine(far_server)
    far_server.hooks["GET /view"] = lambda handler, body: (
        handler.reply(b"", 302, {"Location": f"{other.url}/system_stats"}) or True
    )
    with pytest.raises(EngineError, match="HTTP 302"):
        engine.augment(requests[:1])
    assert other.requests == []


def test_a_renamed_upload_moves_to_a_fresh_folder(far_server, new_engine, requests):
    engine = new_engine(far_server)
    assert_created(engine.augment(requests[:1]), requests[:1])
    used = far_server.posts[0].inputs("AcuSimLoadSamples")["folder"]
    squatter = far_server.roots["input"] / used / requests[1].source.relative_to(engine._setup.dataset)
    squatter.write_bytes(b"of an older data set")
    assert_created(engine.augment(requests[1:2]), requests[1:2])
    assert far_server.posts[1].inputs("AcuSimLoadSamples")["folder"] == f"{used}-1"
    assert squatter.read_bytes() == b"of an older data set"


def test_uploads_that_are_always_renamed_skip_the_picture(far_server, new_engine, requests):
    engine = new_engine(far_server)
    hook = lambda handler, body: handler.reply({"name": "x (1).png", "subfolder": "", "type": "input"}) or True  # noqa: E731
    far_server.hooks["POST /upload/image"] = hook
    [found] = engine.augment(requests[:1])
    assert "keeps it as '/x (1).png'" in str(found)
    assert far_server.posts == []


PICTURES = {
    "black": (lambda pixels: pixels * 0, "black.*--fp32-vae"),
    "nearly black": (lambda pixels: pixels // 64, "black"),
    "flat": (lambda pixels: pixels * 0 + 77, "flat: every value is 77"),
}


@pytest.mark.parametrize("how", PICTURES)
def test_black_and_flat_pictures_are_skipped(server, new_engine, requests, how):
    engine = new_engine(server)
    change, message = PICTURES[how]
    server.picture = lambda pixels: change(pixels).astype(np.uint8)
    [found] = engine.augment(requests[:1])
    assert isinstance(found, PictureError)
    with pytest.raises(PictureError, match=message):
        raise found
    assert len(server.posts) == 1, "the same seed gives the same picture"


def test_a_picture_that_is_not_finite_is_skipped_alone(server, new_engine, requests):
    engine = new_engine(server)
    nothing = {"file": None, "sha256": "", "bytes": 0, "finite": False, "minimum": None, "maximum": None}
    server.answer = lambda entries, prompt: changed(entries, **nothing)
    first, second = engine.augment(requests[:2])
    assert isinstance(first, PictureError) and "--fp32-vae" in str(first)
    assert isinstance(second, Result)
    assert len(server.posts) == 1


def test_names_of_saved_files():
    assert saved_path("train/image/img_64/F_A.B_N_HA_0001.jpg") == "train/image/img_64/F_A.B_N_HA_0001.png"
