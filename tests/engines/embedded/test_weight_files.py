"""Model files in a folder of the user's own: found, refused, checked, hashed."""

import hashlib
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from acusim.errors import ConfigError, EngineError
from engines.embedded.weight_files import check_kinds, checks, identity, notes, ready_weights
from engines.embedded.weight_lookup import CONVERT, find_weights
from engines.recipe import Recipe
from tests.engines.embedded.changed_files import saved, scaled
from tests.engines.embedded.conftest import Hub
from tests.engines.embedded.model_files import CHECKPOINT, FBC, IP_ADAPTER, PLACES, write, write_all

pytestmark = pytest.mark.usefixtures("small_parts")
SD15 = "v1-5-pruned-emaonly.safetensors"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of models with the default recipe's files."""
    write_all(tmp_path / "models")
    return tmp_path / "models"


def refusal(recipe: Recipe, models: Path) -> str:
    """The error, which the check must report as well."""
    with pytest.raises(EngineError) as caught:
        ready_weights(recipe, models)
    assert any(check.ok is False for check in checks(recipe, models))
    return str(caught.value)


def test_files_are_found_checked_and_known_by_their_hashes(root: Path):
    files, found = ready_weights(Recipe(), root)
    assert {role: file.path for role, file in files.items()} == {
        role: root / folder / name for role, (folder, name, _) in PLACES.items()
    }
    hashes = {role: hashlib.sha256(file.path.read_bytes()).hexdigest() for role, file in files.items() if file.path}
    assert identity(Recipe(), root) == {f"weights {role}": digest for role, digest in hashes.items()}
    assert found == [
        f"{role}: {files[role].path} has a published name but is another file ({digest[:12]})"
        for role, digest in hashes.items()
    ]
    lines = checks(Recipe(), root)
    assert [(line.name, line.ok) for line in lines] == [(role, None) for role in PLACES]
    assert all(hashes[line.name][:12] in line.found and "not the published file" in line.found for line in lines)


def test_the_published_bytes_in_a_folder_are_reported_as_such(root: Path, small_hub: Hub):
    assert ready_weights(Recipe(), root)[1] == [] and small_hub.downloaded == []
    assert all(line.ok and "published file: " in line.found for line in checks(Recipe(), root))
    assert identity(Recipe(), root) == identity(Recipe(), None), "the same bytes make the same pictures"


def test_own_names_subfolders_and_comfyuis_own_folder(tmp_path: Path):
    write_all(tmp_path / "models")
    write(tmp_path / "models/checkpoints/faces/mine v2.safetensors", CHECKPOINT)
    recipe = Recipe(checkpoint="faces/mine v2.safetensors")
    for models in (tmp_path, tmp_path / "models"):
        files, found = ready_weights(recipe, models)
        assert files["checkpoint"].path == tmp_path / "models/checkpoints/faces/mine v2.safetensors"
        assert files["checkpoint"].published is None and "checkpoint" not in "".join(found)
    line = checks(recipe, tmp_path)[0]
    assert line.ok and line.found.endswith("own file: SD 1.5, context width 768") and line.fix == ""
    write(tmp_path / "models/checkpoints/old" / SD15, CHECKPOINT)
    assert find_weights(Recipe(checkpoint=f"old/{SD15}"), tmp_path)["checkpoint"].published, "known by its last part"
    write(tmp_path / "models/checkpoints/iclight_sd15_fc.safetensors", CHECKPOINT)
    other = find_weights(Recipe(checkpoint="iclight_sd15_fc.safetensors"), tmp_path)["checkpoint"]
    assert other.published is None, "that name was published for another role"


def test_unet_comes_before_diffusion_models_as_in_comfyui(root: Path):
    name = PLACES["ic_light"][1]
    write(root / "diffusion_models" / name, FBC)
    assert find_weights(Recipe(), root)["ic_light"].path == root / "unet" / name
    (root / "unet" / name).unlink()
    assert find_weights(Recipe(), root)["ic_light"].path == root / "diffusion_models" / name


def test_links_to_files_and_folders_elsewhere_are_followed(root: Path, tmp_path: Path):
    store = tmp_path / "store"
    store.mkdir()
    (root / "checkpoints" / SD15).rename(store / "sd")
    (root / "checkpoints" / SD15).symlink_to(store / "sd")
    (root / "ipadapter").rename(store / "adapters")
    (root / "ipadapter").symlink_to(store / "adapters")
    (store / "adapters/loop").symlink_to(store)
    assert ready_weights(Recipe(), root)[0].keys() == PLACES.keys()
    (store / "sd").unlink()
    message = refusal(Recipe(ip_adapter="x.safetensors"), root)
    assert f"{root / 'checkpoints' / SD15} is a broken link" in message
    assert "present: ip-adapter_sd15.safetensors\n" in message, "a loop of links is walked once"


def test_all_that_is_missing_is_reported_at_once(tmp_path: Path):
    for number in range(11):
        write(tmp_path / f"checkpoints/m{number:02}.safetensors", CHECKPOINT)
    message = refusal(Recipe(wiring="fbc", ip_adapter="my.safetensors"), tmp_path)
    assert message.startswith("model files are missing:\n")
    assert [line.split(":")[0].strip() for line in message.splitlines()[1::2]] == list(PLACES)
    assert f"{SD15} is not in checkpoints/ of {tmp_path}; present: m00.safetensors, m01" in message
    assert "m07.safetensors and 3 more\n" in message
    assert (
        "iclight_sd15_fbc.safetensors is not in unet/ or diffusion_models/" in message
        and "no safetensors files" in message
    )
    assert (
        "/resolve/9cad1878695f546a7fb9eaca14e2a89131ba5ffe/iclight_sd15_fbc.safetensors (1.72 GB, CreativeML" in message
    )
    assert "image_encoder/model.safetensors, saved as CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors (2.53 GB" in message
    assert "--set ip_adapter=NAME with another one, such as https://" in message
    assert [line.ok for line in checks(Recipe(), tmp_path)] == [False] * 4


def test_without_weight_on_the_ip_adapter_neither_it_nor_its_encoder_is_needed(root: Path):
    for role in ("ip_adapter", "clip_vision"):
        (root / PLACES[role][0] / PLACES[role][1]).unlink()
    recipe = Recipe(ip_adapter_weight=0)
    assert ready_weights(recipe, root)[0].keys() == {"checkpoint", "ic_light"}
    assert identity(recipe, root).keys() == {"weights checkpoint", "weights ic_light"}
    assert len(checks(recipe, root)) == 2


@pytest.mark.parametrize("place", ["gone", "file"])
def test_a_path_that_is_not_a_folder_is_reported(tmp_path: Path, place: str):
    (tmp_path / "file").touch()
    message = refusal(Recipe(), tmp_path / place)
    assert f"--models '{tmp_path / place}' is not a folder" in message and "checkpoints/, unet/" in message


def test_a_name_with_a_zero_character_is_refused(root: Path):
    recipe = Recipe(checkpoint="a\x00.safetensors")
    with pytest.raises(ConfigError, match="checkpoint = .* is not a relative name below a folder"):
        find_weights(recipe, root)
    assert checks(recipe, root)[0].ok is False


def test_folders_may_be_separated_by_backslashes(root: Path):
    path = write(root / "checkpoints/faces/old" / SD15, CHECKPOINT)
    slashes, backslashes = Recipe(checkpoint=f"faces/old/{SD15}"), Recipe(checkpoint=f"faces\\old\\{SD15}")
    found = find_weights(backslashes, root)["checkpoint"]
    assert found.path == path and found.published, "known by its last part"
    assert identity(backslashes, root) == identity(slashes, root)
    path.unlink()
    message = refusal(backslashes, root)
    assert f"faces\\old\\{SD15} is not in checkpoints/" in message


ESCAPES = [
    "../a.safetensors",
    "/a.safetensors",
    "x/../../a.safetensors",
    "..\\a.safetensors",
    "x\\..\\..\\a.safetensors",
]
ESCAPES += ["\\a.safetensors", "\\\\server\\a.safetensors", "C:\\a.safetensors", "C:a.safetensors"]


@pytest.mark.parametrize("name", ESCAPES)
def test_names_that_lead_out_are_refused_even_past_the_recipe(root: Path, name: str):
    with pytest.raises(ConfigError, match="not the relative name"):
        Recipe(checkpoint=name)
    recipe = Recipe()
    object.__setattr__(recipe, "checkpoint", name)
    with pytest.raises(ConfigError, match="is not a relative name below a folder"):
        find_weights(recipe, root)


@pytest.mark.parametrize("ending", [".ckpt", ".pt", ".pth", ".bin"])
def test_a_pickle_of_that_name_is_refused_with_the_way_to_convert_it(root: Path, ending: str):
    place = root / "checkpoints" / SD15
    place.rename(place.with_suffix(ending))
    message = refusal(Recipe(), root)
    assert f"{place.with_suffix(ending)} exists, but loading a pickle can run code" in message
    assert f"-> convert it: {CONVERT}" in message


def test_a_file_beside_its_folder_is_pointed_out(root: Path):
    (root / "checkpoints" / SD15).rename(root / SD15)
    assert f"{root / SD15} exists; move it into checkpoints/" in refusal(Recipe(), root)


def test_all_files_that_cannot_be_used_are_reported_at_once(root: Path):
    place = {role: root / folder / name for role, (folder, name, _) in PLACES.items()}
    place["checkpoint"].write_bytes(b"PK\x03\x04" + bytes(99))
    write(place["ic_light"], FBC)
    os.truncate(place["ip_adapter"], 5000)
    write(place["clip_vision"], IP_ADAPTER)
    message = refusal(Recipe(), root)
    assert message.startswith("model files that cannot be used:\n  checkpoint: ") and "pickled PyTorch file" in message
    assert "IC-Light fbc (12 input channels); wiring fc takes 8\n    -> use another file, such as https://" in message
    assert "5000 of" in message and "cut off" in message and "not a CLIP vision model but an IP-Adapter" in message
    with pytest.raises(EngineError) as caught:
        check_kinds(find_weights(Recipe(), root), Recipe())
    assert str(caught.value) == message
    assert [line.ok for line in checks(Recipe(), root)] == [False] * 4


def test_an_encoder_that_does_not_fit_the_ip_adapter_is_reported(root: Path):
    write(root / "ipadapter/ip-adapter_sd15.safetensors", {**IP_ADAPTER, "image_proj.proj.weight": (3072, 9)})
    assert "clip_vision: " in refusal(Recipe(), root)
    assert "gives image features of width 8, the IP-Adapter takes 9" in refusal(Recipe(), root)


def test_a_scale_that_is_not_a_number_is_reported(root: Path):
    change = scaled(more={"image_proj.norm.scale_weight": torch.tensor(float("nan"))})
    tensors = {name: torch.ones(shape) for name, shape in IP_ADAPTER.items()}
    saved(root / "ipadapter/ip-adapter_sd15.safetensors", change(tensors))
    assert "ip_adapter: " in refusal(Recipe(), root)
    assert "is damaged: the scale image_proj.norm.scale_weight is not a finite number" in refusal(Recipe(), root)


def test_a_file_that_vanishes_meanwhile_is_reported(root: Path):
    files = find_weights(Recipe(), root)
    (root / "checkpoints" / SD15).unlink()
    with pytest.raises(EngineError, match="cannot be read: No such file"):
        check_kinds(files, Recipe())
    with pytest.raises(EngineError, match="cannot be read: No such file"):
        notes(files)


@pytest.mark.slow
def test_the_conversion_keeps_the_tensors_and_runs_no_code(tmp_path: Path):
    weight = torch.arange(6.0).reshape(2, 3).T
    nested = {"state_dict": {"image_proj": {"proj.weight": weight}, "ip_adapter": {"1.to_k_ip.weight": weight}}, "n": 3}
    torch.save(nested, tmp_path / "old.bin")

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"a": Evil()}, tmp_path / "evil.bin")
    running: list[tuple[int, subprocess.Popen[str]]] = []
    for old, new, code in (("old.bin", "new.safetensors", 0), ("evil.bin", "evil.safetensors", 1)):
        command = [sys.executable, *shlex.split(CONVERT.replace("OLD NEW.safetensors", f"{old} {new}"))[1:]]
        running.append((code, subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)))
    for code, process in running:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == code, errors
    from safetensors.torch import load_file

    made = load_file(tmp_path / "new.safetensors")
    assert made.keys() == {"image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight"}
    assert torch.equal(made["image_proj.proj.weight"], weight)
    assert not (tmp_path / "ran").exists() and not (tmp_path / "evil.safetensors").exists()


def test_junk_files_are_not_offered_as_models(tmp_path: Path):
    for name in ("sd.safetensors", "._sd.safetensors", "__MACOSX/sd.safetensors", ".cache/x.safetensors"):
        write(tmp_path / "checkpoints" / name, CHECKPOINT)
    assert "checkpoints/ of" in (message := refusal(Recipe(), tmp_path))
    assert "present: sd.safetensors\n" in message and "MACOSX" not in message and "._sd" not in message
