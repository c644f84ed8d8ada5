"""Settings of the gate: which attempts an item has, and by which thresholds an image is judged."""

from typing import Any, Literal

from pydantic import Field, field_validator

from acusim.errors import ConfigError, shown
from acusim.settings import Settings
from evaluation.thresholds import Thresholds


class GateSettings(Settings):
    """What is tried, and by which thresholds an image is judged."""

    WHAT = "gate setting"

    rerolls: int = Field(default=2, ge=0, le=20)
    """Attempts with a new seed, after the first."""
    light_transfer: bool = True
    """Then one whose light alone is taken, on the sample's own pixels; engine relight has none."""
    softer: int = Field(default=2, ge=0, le=10)
    """Attempts after those with less freedom; engine relight has none."""
    denoise_factor: float = Field(default=0.75, ge=0.1, le=1.0)
    """Each of those multiplies the splice ratio t0 (the recipe's denoise) by this …"""
    ip_adapter_factor: float = Field(default=0.5, ge=0.0, le=1.0)
    """… and the IP-Adapter's weight by this."""
    fallback: Literal["relight", "none"] = "relight"
    """What comes last: the relight engine, or none: the item is skipped at once."""
    thresholds: Thresholds = Field(default_factory=Thresholds)
    """Of the certificate."""

    @field_validator("thresholds", mode="before")
    @classmethod
    def _from_table(cls, value: Any) -> Thresholds:
        """A table of a TOML file or a ledger.

        Raises:
            ConfigError: not a table, an unknown threshold, or one out of its range.
        """
        if isinstance(value, Thresholds):
            return value
        if not isinstance(value, dict):
            raise ConfigError(f"thresholds = {shown(value)} is not a table")
        return Thresholds(**value)
