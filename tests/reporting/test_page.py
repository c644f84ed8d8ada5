"""The pieces of a report: what they show, and that names cannot leave their cell."""

import base64
from typing import Any

import pytest
from jinja2 import TemplateNotFound, UndefinedError

from reporting.page import environment, figure, number, percent, render

NASTY = '<b a="&">'


def _shown(template: str, **values: Any) -> str:
    """What a template of any package shows."""
    return environment("reporting").from_string(template).render(values)


def test_numbers_as_people_read_them():
    assert (number(1.005, 1), percent(0.123), number(None), percent(None)) == ("1.0", "12.3 %", "–", "–")
    assert figure({"value": 0.5, "low": 0.25, "high": 0.75}, 1, 100) == '50.0<span class="soft"> [25.0, 75.0]</span>'
    assert figure({"value": 2, "low": None, "high": None}) == "2.00"
    assert figure({"value": None, "low": None, "high": None}) == "–"
    assert _shown("{{ 0.123|percent }} {{ number(2) }}") == "12.3 % 2.00"


@pytest.mark.parametrize(
    "template",
    [
        '{% extends "base.html" %}{% set title = x %}',
        "{{ table([x], []) }}",
        "{{ table(['a'], [[x]]) }}",
        "{{ image(data, 'png', x) }}",
        "{{ cards([(x, 1)]) }}",
    ],
)
def test_names_are_escaped(template: str):
    result = _shown(template, x=NASTY, data=b"x", title=NASTY)
    assert "&lt;b a=&#34;&amp;&#34;&gt;" in result and NASTY not in result


def test_a_card_shows_its_value_above_its_name():
    assert "<b>12 %</b><span>rate</span>" in _shown("{{ cards([('rate', '12 %')]) }}")


def test_columns_of_words_stand_at_the_left():
    result = _shown("{{ table(('', 'n', 'what'), [('a', 1, 'x'), ('b', 2, 'y')], ['what']) }}")
    assert result.count('<td class="text">') == 2 and '<th class="text">what</th>' in result and "<td>1</td>" in result


def test_an_image_is_within_the_page():
    shown = _shown("{{ image(data, 'jpeg', 'a') }}", data=b"abc")
    assert base64.b64encode(b"abc").decode() in shown
    assert "Nothing" in _shown("{{ image(none, 'png', 'a') }}")


def test_a_value_that_a_template_needs_must_be_given():
    with pytest.raises(UndefinedError, match="title"):
        render("reporting", "base.html")
    with pytest.raises(TemplateNotFound):
        render("reporting", "other.html", title="a")
