"""Which file the preflight names where the recipe's own is missing or of the wrong kind."""

import pytest

from tests.engines.comfyui.test_preflight import combo, lines, wrong

FBC, FC = {"conv_in.weight": [320, 12, 3, 3]}, {"conv_in.weight": [320, 8, 3, 3]}


def offer(server, **files):
    """The server's IC-Light models: name without ending -> tensors."""
    listed = combo(server, "LoadAndApplyICLightUnet", "model_path")
    listed[:] = [f"{name}.safetensors" for name in files]
    server.tensors |= {f"{name}.safetensors": tensors for name, tensors in files.items()}


def test_a_wrong_wiring_names_the_published_file_that_is_there(server, new_engine):
    offer(server, mine=FC, iclight_sd15_fc=FC, iclight_sd15_fbc=FBC, other=FBC)
    engine = new_engine(server, opened=False, recipe={"wiring": "fbc", "ic_light": "mine.safetensors"})
    assert wrong(engine) == ["ic_light"]
    line = lines(engine)["ic_light"]
    assert line.found == "mine.safetensors, 8 input channels (fc); wiring fbc takes 12"
    assert line.fix.startswith("use one that is on the server: --set ic_light=iclight_sd15_fbc.safetensors")
    assert "(these fit, too: other.safetensors)" in line.fix
    assert line.fix.endswith("or, for the file that the recipe names, --set wiring=fc")


@pytest.mark.parametrize(("wiring", "mine", "right"), [("fbc", FC, FBC), ("fc", FBC, FC)])
def test_it_names_a_file_of_another_name_that_fits(server, new_engine, wiring, mine, right):
    offer(server, mine=mine, **{f"sub\\light {number}": mine for number in range(4)}, **{"sub\\relight x": right})
    engine = new_engine(server, opened=False, recipe={"wiring": wiring, "ic_light": "mine.safetensors"})
    fix = lines(engine)["ic_light"].fix
    assert "--set 'ic_light=sub\\relight x.safetensors'" in fix and "mine" not in fix


@pytest.mark.parametrize(("wiring", "mine"), [("fbc", FC), ("fc", FBC)])
def test_it_names_the_published_file_where_none_fits(server, new_engine, wiring, mine):
    offer(server, mine=mine)
    engine = new_engine(server, opened=False, recipe={"wiring": wiring, "ic_light": "mine.safetensors"})
    fix = lines(engine)["ic_light"].fix
    assert f"https://huggingface.co/lllyasviel/ic-light, iclight_sd15_{wiring}.safetensors" in fix
    assert "mine" not in fix and "models/diffusion_models" in fix


def test_a_file_of_no_wiring_offers_no_other_wiring(server, new_engine):
    offer(server, mine={"conv_in.weight": [320, 4, 3, 3]})
    fix = lines(new_engine(server, opened=False, recipe={"ic_light": "mine.safetensors"}))["ic_light"].fix
    assert "wiring=" not in fix and "iclight_sd15_fc.safetensors" in fix


def test_a_missing_file_names_what_is_there_and_where_the_right_one_comes_from(server, new_engine):
    offer(server, own_fbc=FBC, own_fc=FC)
    engine = new_engine(server, opened=False, recipe={"wiring": "fbc", "ic_light": "mine.safetensors"})
    line = lines(engine)["ic_light"]
    assert line.found == "mine.safetensors is not on the server"
    assert line.fix.startswith("use one that is on the server: --set ic_light=own_fbc.safetensors; or put mine")
    assert "ic-light, iclight_sd15_fbc.safetensors; it allows" in line.fix


def test_other_models_that_fit_are_named_too(server, new_engine):
    names = combo(server, "CLIPVisionLoader", "clip_name")
    names += ["CLIP-ViT-L.safetensors", "vision/CLIP-ViT-H.safetensors"]
    server.tensors |= {
        names[0]: {"visual_projection.weight": [768, 1024]},
        names[1]: {"visual_projection.weight": [768, 1024]},
        names[2]: {"visual_projection.weight": [1024, 1280]},
    }
    engine = new_engine(server, opened=False)
    assert wrong(engine) == ["clip_vision"]
    assert "--set clip_vision=vision/CLIP-ViT-H.safetensors" in lines(engine)["clip_vision"].fix


def test_a_server_with_many_files_is_asked_about_a_few(server, new_engine):
    offer(server, mine=FC, **{f"style{number}": {"x": [1]} for number in range(300)}, iclight_sd15_fbc=FBC)
    engine = new_engine(server, opened=False, recipe={"wiring": "fbc", "ic_light": "mine.safetensors"})
    assert "iclight_sd15_fbc" in lines(engine)["ic_light"].fix
    assert sum("/acusim/model" in request for request in server.requests) < 20
