"""Where and how an engine works: one settings model for each engine, distinguished by ``engine``.

Beside workflow, models and precision nothing here decides a pixel; what does is in engines.recipe. A field with
``"stored": False`` is not kept in OUT.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from acusim.errors import ConfigError
from acusim.parallel.settings import ClusterSettings
from acusim.settings import Settings

Transport = Literal["auto", "shared", "remote"]
Device = Literal["auto", "cuda", "cpu"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
MAX_BATCH = 64


class ClusterOptions(ClusterSettings):
    """Of engines that work on a cluster."""

    shared_files: bool = Field(default=False, json_schema_extra={"stored": False})
    """The nodes of the cluster see data set and OUT under the same paths: they read and write these themselves."""

    @model_validator(mode="after")
    def _check_shared(self) -> Self:
        if self.shared_files and self.cluster is None:
            raise ConfigError("--shared-files is for --cluster")
        return self


class RelightOptions(ClusterOptions):
    """Of the engine that computes the light itself."""

    WHAT = "option of engine relight"

    engine: Literal["relight"] = Field(default="relight", json_schema_extra={"hidden": True})
    workers: int | None = Field(
        default=None, ge=1, le=256, json_schema_extra={"metavar": "N", "default": "one for each core", "stored": False}
    )
    """Worker processes, of a cluster those of each node."""


class DiffusionOptions(Settings):
    """What both diffusion engines have."""

    batch_size: int | None = Field(default=None, ge=1, le=MAX_BATCH, json_schema_extra={"metavar": "N", "default": 4})
    """Most images in one batch."""


class ComfyUIOptions(DiffusionOptions):
    """Of the engine that drives ComfyUI servers."""

    WHAT = "option of engine comfyui"

    engine: Literal["comfyui"] = Field(default="comfyui", json_schema_extra={"hidden": True})
    server: tuple[str, ...] = Field(
        default=(), json_schema_extra={"metavar": "URL", "default": "http://127.0.0.1:8188"}
    )
    """Address of a running ComfyUI; name several to share the work."""
    server_header_file: Path | None = Field(
        default=None, json_schema_extra={"metavar": "FILE", "default": "$ACUSIM_SERVER_HEADER", "stored": False}
    )
    """Headers, or a token, for a login in front of the server, one a line; never stored in OUT."""
    workflow: Path | None = Field(
        default=None, json_schema_extra={"metavar": "F.json", "default": "workflows/api/WIRING.json"}
    )
    """Own workflow in ComfyUI's API format."""
    transport: Transport = "auto"
    """How images reach the server and return. shared: it reads the data set and writes below OUT itself; remote: upload
    and download; auto: shared where it works."""


class EmbeddedOptions(ClusterOptions, DiffusionOptions):
    """Of the engine that runs diffusion in this process."""

    WHAT = "option of engine embedded"

    engine: Literal["embedded"] = Field(default="embedded", json_schema_extra={"hidden": True})
    models: Path | None = Field(
        default=None, json_schema_extra={"metavar": "DIR", "default": "the published ones, downloaded into a cache"}
    )
    """Model files, laid out as ComfyUI's models folder."""
    device: Device = "auto"
    """Where the models run; auto takes a GPU if there is one."""
    precision: Precision = "auto"
    """Number format of the models; decides pixels. auto: bf16 on a GPU that has it, else fp16, and fp32 on a CPU."""
    gpus: int = Field(default=1, ge=1, le=64, json_schema_extra={"metavar": "N"})
    """Share the batch between N GPUs of this machine, or with --device cpu between N processes."""
    compile: bool = False
    """Let torch compile the models: minutes at the start, faster after that."""
    low_memory: bool = False
    """Keep only the running model on the GPU, and decode image by image."""

    @model_validator(mode="after")
    def _check_gpus(self) -> Self:
        if self.gpus > 1 and self.cluster is not None:
            raise ConfigError(
                "--gpus is for this machine alone; with --cluster all GPUs of all nodes work: leave one out"
            )
        return self


EngineOptions = Annotated[RelightOptions | ComfyUIOptions | EmbeddedOptions, Field(discriminator="engine")]
"""The field ``engine`` says which one it is."""
OPTIONS: dict[str, type[RelightOptions | ComfyUIOptions | EmbeddedOptions]] = {
    "relight": RelightOptions,
    "comfyui": ComfyUIOptions,
    "embedded": EmbeddedOptions,
}
"""Engine -> its options."""
