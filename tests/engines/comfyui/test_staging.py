"""What is below OUT during a run, and who may change it."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from acusim.errors import EngineError
from acusim.files import sha256
from engines.comfyui.staging import ensure_token, known_token
from engines.comfyui.transport import Remote, Shared
from engines.scenes import Scene
from tests.engines.comfyui.conftest import assert_created, make_requests
from tests.engines.comfyui.fake_server import NodeError


def unwritable(server, root="out"):
    """Makes Save fail in a root, as where the server runs as another user."""

    def before(prompt):
        if prompt.inputs("AcuSimSaveSamples")["root"] == root:
            raise NodeError("acusim.errors.OutputError", "cannot write: Permission denied", "20", "AcuSimSaveSamples")

    server.before = before


def tree(folder):
    """All files and folders below a folder, with their contents."""
    return {path: path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def test_a_server_that_cannot_save_in_out_gets_uploads_and_downloads(server, new_engine, requests, output):
    unwritable(server)
    engine = new_engine(server)
    assert isinstance(engine.fleet.servers[0].transport, Shared)
    assert_created(engine.augment(requests[:4]), requests[:4])
    assert [len(prompt.samples) for prompt in server.posts] == [4, 4]
    assert isinstance(engine.fleet.servers[0].transport, Remote)
    [note] = [note for note in engine.notes if "uploaded and downloaded" in note]
    assert "Permission denied" in note
    assert_created(engine.augment(requests[4:8]), requests[4:8])
    assert len(server.posts) == 3
    engine.close()
    assert not (output / ".acusim/staging").exists()


@pytest.mark.parametrize("far", [False, True])
def test_a_turned_scene_reaches_a_server_upright(new_server, new_engine, dataset, tmp_path, far):
    """As a PNG, whatever the server's own nodes make of EXIF tags, and once for all prompts."""
    seen = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    exif, path = Image.Exif(), tmp_path / "phone.webp"
    exif[0x0112] = 6
    Image.fromarray(np.rot90(seen)).save(path, lossless=True, exif=exif)
    scene = Scene(path.name, path, sha256(path.read_bytes()))
    server, found = new_server(shared=not far), []

    def before(prompt):
        place = prompt.inputs("AcuSimLoadScene")
        file = server.roots[place["root"]] / place["file"]
        found.append((file.name, np.asarray(Image.open(file))))

    server.before = before
    engine, batch = new_engine(server), make_requests(dataset, scene=scene)
    for start in (0, 4):
        assert_created(engine.augment(batch[start : start + 4]), batch[start : start + 4])
    assert len(found) == 2 and found[0][0] == found[1][0] and found[0][0].endswith(".png")
    assert all((pixels == seen).all() for _, pixels in found)
    assert sum("/upload" in request for request in server.requests) == (8 + 8 + 1 if far else 0)


def test_a_server_that_cannot_save_anywhere_is_left_out(server, new_engine, requests):
    engine = new_engine(server)
    error = NodeError("acusim.errors.OutputError", "No space left", "20", "AcuSimSaveSamples")

    def before(prompt):
        raise error

    server.before = before
    with pytest.raises(EngineError, match="No space left.*nothing can be saved there"):
        engine.augment(requests[:2])
    assert len(server.posts) == 2, "one on each way"


def test_shared_folders_that_were_asked_for_are_not_given_up(server, new_engine, requests):
    unwritable(server)
    engine = new_engine(server, transport="shared")
    with pytest.raises(EngineError, match="Permission denied.*nothing can be saved there"):
        engine.augment(requests[:2])
    assert len(server.posts) == 1


def test_a_staging_folder_that_is_a_link_is_refused_and_nothing_behind_it_is_touched(
    server, new_engine, output, tmp_path
):
    outside = tmp_path / "precious"
    (outside / "run-old").mkdir(parents=True)
    (outside / "picture.png").write_bytes(b"precious")
    (output / ".acusim").mkdir()
    (output / ".acusim/staging").symlink_to(outside)
    before, changed = tree(outside), os.stat(outside).st_mtime_ns
    [line] = [check for check in new_engine(server, opened=False).check() if check.name == "transport"]
    assert line.ok is False and "symbolic link" in line.found
    with pytest.raises(EngineError, match="symbolic link"):
        new_engine(server)
    assert tree(outside) == before and os.stat(outside).st_mtime_ns == changed


def test_a_staging_folder_that_becomes_a_link_later_is_refused_by_begin(server, new_engine, output, tmp_path):
    engine = new_engine(server)
    staging = engine._staging
    (tmp_path / "precious/scenes").mkdir(parents=True)
    (output / ".acusim/staging").symlink_to(tmp_path / "precious")
    with pytest.raises(EngineError, match="symbolic link"):
        staging.remove_leftovers()
    staging.close()
    engine.close()
    assert (tmp_path / "precious/scenes").is_dir()


def test_what_dead_runs_staged_is_removed(server, new_server, new_engine, requests, output, tmp_path):
    old = output / ".acusim/staging/run-0123/prompt"
    old.mkdir(parents=True)
    (old / "picture.png").write_bytes(b"old")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/kept").write_bytes(b"")
    (output / ".acusim/staging/link").symlink_to(tmp_path / "elsewhere")
    engine = new_engine(server, new_server())
    assert list((output / ".acusim/staging").iterdir()) == []
    assert (tmp_path / "elsewhere/kept").is_file()
    assert_created(engine.augment(requests[:4]), requests[:4])
    engine.close()
    assert not (output / ".acusim/staging").exists()


def test_a_run_that_closes_leaves_the_staging_of_others_alone(server, new_engine, requests, output):
    engine = new_engine(server)
    assert_created(engine.augment(requests[:2]), requests[:2])
    other = output / ".acusim/staging/run-other"
    other.mkdir()
    engine.close()
    assert list((output / ".acusim/staging").iterdir()) == [other]


def test_a_guest_makes_pictures_beside_a_batch_and_touches_nothing_of_it(server, new_engine, requests, output):
    batch = new_engine(server)
    assert_created(batch.augment(requests[:2]), requests[:2])
    staged = output / batch._staging.below / "a prompt/picture.png"
    staged.parent.mkdir(parents=True)
    staged.write_bytes(b"on its way")
    [token] = {prompt.extra["acusim"] for prompt in server.posts}
    server.works = False
    for name, extra in (("ours", {"acusim": token}), ("foreign", {}), ("without", {"acusim": ""})):
        server.accept({"prompt_id": name, "prompt": {}, "extra_data": extra})
    before = tree(output)

    checked = new_engine(server, opened=False, output=None).check()
    assert all(check.ok is not False for check in checked)
    assert {check.name: check for check in checked}["transport"].ok, "nothing that a user should change"
    guest = new_engine(server, output=None)
    assert isinstance(guest.fleet.servers[0].transport, Remote)
    server.pending, server.works = [], True  # the worker would choke on prompts without nodes
    assert_created(guest.augment(requests[2:6]), requests[2:6])
    guest.stop()
    guest.close()
    assert tree(output) == before
    assert server.deleted == server.interrupted == []
    assert server.freed == 0
    assert server.posts[-1].extra["acusim"] not in ("", token)


def test_a_guest_drops_no_prompt_of_others_when_it_opens(server, new_engine, output):
    server.works = False
    for name, token in (("one", "0123456789abcdef"), ("two", ""), ("three", None)):
        server.accept({"prompt_id": name, "prompt": {}, "extra_data": {"acusim": token}})
    new_engine(server, output=None).close()
    assert [prompt.id for prompt in server.pending] == ["one", "two", "three"]
    assert not any(request.startswith("POST") for request in server.requests)
    assert list(output.iterdir()) == []


def test_a_guest_cannot_share_folders(server, new_engine):
    with pytest.raises(EngineError, match="there is no output folder"):
        new_engine(server, output=None, transport="shared")


def test_a_token_is_kept_in_out(tmp_path):
    assert known_token(tmp_path) == "" == known_token(None)
    token = ensure_token(tmp_path)
    assert token == ensure_token(tmp_path) == known_token(tmp_path)
    (tmp_path / ".acusim/server_token").write_text("../../leads/out")
    assert known_token(tmp_path) == ""
    assert ensure_token(tmp_path) != token
    assert ensure_token(None) != ensure_token(None)


def test_a_copy_of_out_has_a_token_of_its_own(tmp_path):
    token = ensure_token(tmp_path / "out")
    shutil.copytree(tmp_path / "out", tmp_path / "copy")
    assert known_token(tmp_path / "copy") == ""
    assert ensure_token(tmp_path / "copy") != token == known_token(tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "moved")
    (tmp_path / "link").symlink_to(tmp_path / "moved")
    assert known_token(tmp_path / "moved") == token == known_token(tmp_path / "link")
