"""A job, which is what decides the pixels of one image, and its result."""

from dataclasses import dataclass, field
from typing import Any

from acusim.keypoints import AnySample
from controller.ledger import Done
from engines.scenes import Scene

REASON_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Job:
    """An item with everything that decides its pixels; travels to a worker process."""

    key: str
    """Output image relative to OUT; its data set starts at ``folder``."""
    folder: str
    sample: AnySample
    variant: int
    attempt: int
    seed: int
    scene: Scene
    bald: bool
    prompt_set: str
    positive: str
    negative: str


@dataclass(frozen=True, slots=True)
class JobResult:
    """How a job ended: an image with its record, or exactly one of ``skipped`` and ``fatal``."""

    key: str
    attempt: int = 0
    sha256: str = ""
    size: int = 0
    record: dict[str, Any] = field(default_factory=dict)
    """The manifest's line."""
    seconds: float = 0.0
    skipped: str | None = None
    """Why the item is skipped."""
    fatal: str | None = None
    """Why the whole batch must stop; the item stays planned."""
    engine_lost: bool = False
    """True if ``fatal`` is about the engine, not about the output."""
    attempts: list[dict[str, Any]] = field(default_factory=list)
    """The gate's verdict on each, where it accepted none."""
    files: tuple[tuple[str, bytes], ...] = ()
    """What is still to be written, by path relative to OUT: the image is the last."""

    @classmethod
    def skip(cls, key: str, reason: object, attempts: list[dict[str, Any]] | None = None) -> "JobResult":
        """An item that cannot be created; a reason that quotes a hostile file is cut."""
        return cls(key, skipped=str(reason)[:REASON_LENGTH], attempts=attempts or [])

    def done(self, stamp: str) -> Done:
        """The ledger's entry of an image that was written."""
        return Done(self.key, self.attempt, self.sha256, self.size, self.record, self.seconds, stamp)
