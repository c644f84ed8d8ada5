"""The option of every command that works on a cluster."""

from pydantic import Field

from acusim.settings import Settings


class ClusterSettings(Settings):
    """Where to find workers beyond this machine."""

    cluster: str | None = Field(
        default=None, json_schema_extra={"metavar": "ADDRESS", "default": "this machine alone", "stored": False}
    )
    """Work on a Ray cluster: HOST:PORT of a running one, of which this machine is a node; local starts one here."""
