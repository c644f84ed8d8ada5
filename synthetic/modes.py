"""Names of the choices that decide pixels; light to import."""

from typing import Literal

LightMode = Literal["studio", "wild"]
LIGHT_MODES: tuple[LightMode, ...] = ("studio", "wild")
Quality = Literal["draft", "fine"]
QUALITIES: tuple[Quality, ...] = ("draft", "fine")
