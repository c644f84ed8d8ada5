"""Downloads from the hub, and what may go wrong. The errors are the hub library's own."""

import errno
import os
import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import httpx2
import huggingface_hub
import pytest
from huggingface_hub import constants, errors

from acusim.errors import EngineError
from engines.embedded import hub
from engines.embedded.published import PUBLISHED
from engines.embedded.weight_files import checks, download, identity, notes, ready_weights
from engines.embedded.weight_lookup import WeightFile, find_weights
from engines.recipe import Recipe
from tests.engines.embedded.conftest import Hub
from tests.engines.embedded.model_files import PLACES

pytestmark = pytest.mark.usefixtures("small_parts")
SD15 = "v1-5-pruned-emaonly.safetensors"


def answer(kind: type[errors.HfHubHTTPError], status: int) -> errors.HfHubHTTPError:
    """An error as the hub's client raises it for an answer."""
    request = httpx2.Request("GET", "https://huggingface.co/x/resolve/main/y")
    return kind(f"{status} Client Error.\n\nsome text", response=httpx2.Response(status, request=request))


def unreachable(cause: Exception) -> Exception:
    """What the client makes of a cause when the file is not in its cache either."""
    error = errors.LocalEntryNotFoundError("An error happened while trying to locate the file on the Hub")
    error.__cause__ = cause
    return error


FAULTS = {
    "401": (answer(errors.RepositoryNotFoundError, 401), "the hub refuses (401)", "HF_TOKEN"),
    "401 bare": (answer(errors.HfHubHTTPError, 401), "the hub refuses (401)", "HF_TOKEN"),
    "gated": (answer(errors.GatedRepoError, 403), "require an agreement", "hf auth login"),
    "no repository": (answer(errors.RepositoryNotFoundError, 404), "the hub refuses (404)", "remove a token"),
    "no revision": (answer(errors.RevisionNotFoundError, 404), "no longer has it (404)", "look for a copy"),
    "no file": (answer(errors.RemoteEntryNotFoundError, 404), "no longer has it (404)", "look for a copy"),
    "403": (answer(errors.HfHubHTTPError, 403), "the hub answers 403", "try again"),
    "429": (answer(errors.HfHubHTTPError, 429), "fewer requests (429)", "wait"),
    "503": (unreachable(answer(errors.HfHubHTTPError, 503)), "the hub answers 503", "try again"),
    "offline": (unreachable(errors.OfflineModeIsEnabled("offline")), "HF_HUB_OFFLINE is set", "unset it"),
    "no network": (unreachable(httpx2.ConnectError("[Errno -3] no name")), "no connection (ConnectError", "connect"),
    "nothing known": (errors.LocalEntryNotFoundError("no cause"), "no connection", "connect"),
    "slow": (httpx2.ReadTimeout("timed out"), "no connection (ReadTimeout", "connect"),
    "proxy": (httpx2.ProxyError("407"), "no connection (ProxyError", "connect"),
    "portal": (unreachable(errors.FileMetadataError("no ETag")), "what answers is not the hub", "login page"),
    "disk": (OSError(errno.ENOSPC, "No space left on device"), "is full", "HF_HOME"),
    "rights": (PermissionError(errno.EACCES, "Permission denied"), "is not writable", "HF_HOME"),
    "cut": (OSError("Consistency check failed: file should be of size 9"), "Consistency check failed", "try again"),
    "storage": (RuntimeError("Data processing error: CAS\nservice"), "CAS service", "try again"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_names_the_file_why_and_how_to_do_without(small_hub: Hub, fault: str):
    small_hub.error, why, do = FAULTS[fault]
    with pytest.raises(EngineError) as caught:
        ready_weights(Recipe(), None)
    message = str(caught.value)
    assert message.startswith(f"cannot download {SD15} (") and "\n" not in message
    assert "from stable-diffusion-v1-5/stable-diffusion-v1-5 on https://" in message
    assert why in message and do in message
    assert "use --models DIR: this one belongs in DIR/checkpoints, from https://huggingface.co/" in message


def test_the_real_client_reports_offline_mode_in_these_words(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "hf_hub_download", huggingface_hub.hf_hub_download)
    with pytest.raises(EngineError, match="HF_HUB_OFFLINE is set; unset it, or download the model files by hand"):
        download(find_weights(Recipe(), None))
    line = checks(Recipe(), None)[-1]
    assert (line.name, line.ok) == ("models", False) and "HF_HUB_OFFLINE" in line.found


def test_what_is_missing_is_downloaded_once(small_hub: Hub, home: Path):
    before = identity(Recipe(), None)
    assert small_hub.downloaded == []
    files, found = ready_weights(Recipe(), None)
    assert small_hub.downloaded == [name for _, name, _ in PLACES.values()] and found == []
    assert all(file.path and file.path.is_relative_to(home / "hub") for file in files.values())
    assert ready_weights(Recipe(), None)[0] == files and len(small_hub.downloaded) == 4
    assert identity(Recipe(), None) == before == {f"weights {r}": PUBLISHED[f.name].sha256 for r, f in files.items()}
    assert ready_weights(Recipe(ip_adapter_weight=0), None)[0].keys() == {"checkpoint", "ic_light"}


def test_a_file_that_is_not_the_published_one_is_not_used(small_hub: Hub):
    def flip(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)

    small_hub.damage = flip
    with pytest.raises(EngineError, match=r"is not used: .* has SHA-256 [0-9a-f]{64}, the published file") as caught:
        ready_weights(Recipe(), None)
    bad = find_weights(Recipe(), None)["checkpoint"].path
    assert bad and f"delete {os.path.realpath(bad)}, and the next run downloads it again" in str(caught.value)
    assert checks(Recipe(), None)[0].ok is False
    with pytest.raises(EngineError, match="is not used"):
        ready_weights(Recipe(), None)
    bad.unlink()
    small_hub.damage = lambda path: None
    ready_weights(Recipe(), None)


def test_a_file_cut_off_in_the_cache_is_reported_before_it_is_hashed(small_hub: Hub):
    small_hub.damage = lambda path: os.truncate(path, 2000)
    with pytest.raises(EngineError, match="has 2000 bytes, the published file"):
        ready_weights(Recipe(), None)
    with pytest.raises(EngineError, match=r"cannot be used:\n  checkpoint: .*cut off.*\n    -> delete"):
        ready_weights(Recipe(), None)


def test_a_page_in_place_of_a_file_is_reported(small_hub: Hub):
    small_hub.damage = lambda path: path.write_text("<html>log in</html>") and None
    with pytest.raises(EngineError, match="has 19 bytes"):
        ready_weights(Recipe(), None)
    line = checks(Recipe(), None)[0]
    assert line.ok is False and "web page" in line.found and line.fix.startswith("delete ")


def test_without_a_pinned_hash_the_file_is_used_and_reported_as_unchecked(
    small_hub: Hub, monkeypatch: pytest.MonkeyPatch
):
    digest = PUBLISHED[SD15].sha256
    monkeypatch.setitem(PUBLISHED, SD15, replace(PUBLISHED[SD15], sha256=None, size=None))
    known = identity(Recipe(), None)["weights checkpoint"]
    assert known == f"{PUBLISHED[SD15].repo}@{PUBLISHED[SD15].revision}:{SD15}"
    files, found = ready_weights(Recipe(), None)
    assert found == [f"checkpoint: no hash of {SD15} is pinned; unchecked, it has SHA-256 {digest}"]
    assert identity(Recipe(), None)["weights checkpoint"] == known and notes(files) == found
    line = checks(Recipe(), None)[0]
    assert line.ok is None and "unchecked" in line.found
    bad = files["checkpoint"].path
    assert bad
    bad.unlink()
    small_hub.damage = lambda path: path.write_text("<html>log in</html>") and None
    with pytest.raises(EngineError, match="web page"):
        ready_weights(Recipe(), None)


def test_without_a_pinned_commit_nothing_is_downloaded(small_hub: Hub, monkeypatch: pytest.MonkeyPatch):
    bare = replace(PUBLISHED[SD15], revision=None)
    monkeypatch.setitem(PUBLISHED, SD15, bare)
    with pytest.raises(EngineError, match=r"no commit of .* is pinned\n    -> download the model .*--models"):
        ready_weights(Recipe(), None)
    with pytest.raises(EngineError, match="no commit of"):
        download({"checkpoint": WeightFile("checkpoint", SD15, None, bare, hub=True)})
    assert small_hub.downloaded == []


def test_names_that_are_not_published_are_refused_before_anything_is_downloaded(small_hub: Hub):
    recipe = Recipe(checkpoint="own.safetensors", ic_light=SD15, clip_vision="a/b.safetensors")
    with pytest.raises(EngineError) as caught:
        ready_weights(recipe, None)
    message = str(caught.value)
    assert message.count("none of the published files") == 3 and "ip_adapter:" not in message
    assert "--models DIR, or --set ic_light=iclight_sd15_fc.safetensors" in message
    with pytest.raises(EngineError, match=r"is for wiring fbc, the recipe has fc\n    -> --set wiring=fbc"):
        find_weights(Recipe(ic_light="iclight_sd15_fbc.safetensors"), None)
    assert find_weights(Recipe(wiring="fbc"), None)["ic_light"].name == "iclight_sd15_fbc.safetensors"
    assert [check.ok for check in checks(recipe, None)] == [False, False, None, False, None]


def test_the_check_reports_how_much_is_to_be_downloaded(small_hub: Hub, home: Path, monkeypatch: pytest.MonkeyPatch):
    lines = checks(Recipe(), None)
    assert [line.name for line in lines] == [*PLACES, "models"] and {line.ok for line in lines} == {None}
    assert "not downloaded yet" in lines[0].found and str(home / "hub") in lines[0].fix
    assert small_hub.downloaded == [] and not (home / "hub").exists()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(9, 9, 0))
    assert checks(Recipe(), None)[-1].ok is False and "0 bytes free" in checks(Recipe(), None)[-1].found
    ready_weights(Recipe(), None)
    lines = checks(Recipe(), None)
    assert {line.ok for line in lines} == {True} and lines[-1].found.endswith(f"all downloaded, in {home / 'hub'}")
    assert all("published file: " in line.found for line in lines[:-1])


def test_the_default_recipes_files_are_pinned_in_full():
    total = 0
    for recipe in (Recipe(), Recipe(wiring="fbc")):
        for role, file in find_weights(recipe, None).items():
            entry = file.published
            assert entry and entry.role == role and entry.name == getattr(recipe, role)
            assert len(entry.revision or "") == 40 and len(entry.sha256 or "") == 64 and (entry.size or 0) > 4e7
            assert int(entry.revision or "", 16) and int(entry.sha256 or "", 16)
            total += entry.size or 0
    assert total == 2 * (4265146304 + 44642768 + 2528373448) + 1719148312 + 1719171352
    assert "8.56 GB in all, 8.56 GB of it to download" in checks(Recipe(), None)[-1].found
