"""The pieces of a report: what they show, and that names cannot leave their cell."""

import base64

from reporting.html_page import cards, document, escaped, figure, image, number, percent, table

NASTY = '<b a="&">'


def test_numbers_as_people_read_them():
    assert (number(1.005, 1), percent(0.123), number(None), percent(None)) == ("1.0", "12.3 %", "–", "–")
    assert figure({"value": 0.5, "low": 0.25, "high": 0.75}, 1, 100) == '50.0<span class="soft"> [25.0, 75.0]</span>'
    assert figure({"value": 2, "low": None, "high": None}) == "2.00"
    assert figure({"value": None, "low": None, "high": None}) == "–"


def test_names_are_escaped():
    safe = "&lt;b a=&quot;&amp;&quot;&gt;"
    assert escaped(NASTY) == safe
    for made in (document(NASTY, []).decode(), table([NASTY], []), image(b"x", "png", NASTY), cards([(NASTY, "1")])):
        assert safe in made and NASTY not in made


def test_a_card_shows_its_value_above_its_name():
    assert "<b>12 %</b><span>rate</span>" in cards([("rate", "12 %")])


def test_columns_of_words_stand_at_the_left():
    made = table(("", "n", "what"), [("a", "1", "x"), ("b", "2", "y")], ["what"])
    assert made.count('<td class="text">') == 2 and '<th class="text">what</th>' in made and "<td>1</td>" in made


def test_a_picture_is_within_the_page():
    assert base64.b64encode(b"abc").decode() in image(b"abc", "jpeg", "a") and "Nothing" in image(None, "png", "a")
