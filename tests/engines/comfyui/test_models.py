"""Kinds of model files."""

from engines.comfyui.models import check_model
from engines.recipe import Recipe


def test_a_model_file_with_invalid_shapes():
    for shapes in ({"conv_in.weight": "x"}, {"conv_in.weight": [1]}, {"conv_in.weight": [1, "y"]}):
        assert check_model("ic_light", shapes, Recipe(), {})[0] is False
