"""What tests of data sets' folders share."""

from pathlib import Path

import pytest

from acusim.errors import LayoutError
from acusim.layout import scan


def refusal(root: Path) -> str:
    with pytest.raises(LayoutError) as error:
        scan(root)
    return str(error.value)
