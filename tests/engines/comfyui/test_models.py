"""Kinds of model files."""

from engines.comfyui.models import check_model
from engines.recipe import Recipe


def test_a_model_file_with_invalid_shapes():
    for shapes in ({"conv_in.weight": "x"}, {"conv_in.weight": [1]}, {"conv_in.weight": [1, "y"]}):
        assert check_model("ic_light", shapes, Recipe(), {})[0] is False


def test_control_nets_in_every_naming_and_what_is_none():
    attention = "transformer_blocks.0.attn2.to_k.weight"
    names = (("control_model.input_hint_block.0.weight", f"control_model.input_blocks.1.1.{attention}"),)
    names += (("input_hint_block.0.weight", f"input_blocks.1.1.{attention}"),)
    names += (("controlnet_cond_embedding.conv_in.weight", f"down_blocks.0.attentions.0.{attention}"),)
    for hint, keys in names:
        shapes = {hint: [16, 3, 3, 3], keys: [320, 768]}
        assert check_model("control_net", shapes, Recipe(), {}) == (
            True,
            "ControlNet, context width 768; SD 1.5 has 768",
        )
        ok, what = check_model("control_net", {**shapes, keys: [320, 2048]}, Recipe(), {})
        assert not ok and "context width 2048" in what
    ok, what = check_model("control_net", {"conv_in.weight": [320, 8, 3, 3]}, Recipe(), {})
    assert not ok and "not a ControlNet" in what
