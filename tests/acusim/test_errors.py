"""What messages say of long values and lists."""

import pytest

from acusim.errors import few, shown


@pytest.mark.parametrize(
    ("texts", "between", "expected"),
    [
        ([], ", ", ""),
        (["a", "b"], ", ", "a, b"),
        (["a", "b", "c", "d"], ", ", "a, b and 2 more"),
        (["a", "b", "c"], "; ", "a; b; and 1 more"),
    ],
)
def test_the_first_few(texts: list[str], between: str, expected: str):
    assert few(texts, 2, between) == expected


def test_a_long_value_is_cut():
    assert shown("x" * 1000) == "'" + 79 * "x" + "… (1002 characters)"
    assert shown("short") == "'short'"
