"""How a batch ended."""

from dataclasses import dataclass, field
from pathlib import Path

from controller.gate import WAYS
from controller.job import JobResult

GATE_SKIPPED = "skipped"
"""Of the gate's counts: no attempt was accepted."""


@dataclass(slots=True)
class Summary:
    """What a run of a batch did, as --json prints it."""

    planned: int = 0
    """Images of this plan."""
    already: int = 0
    """Were done before."""
    created: int = 0
    """Created by this run."""
    skipped: list[tuple[str, str]] = field(default_factory=list)
    """(path, reason) of images that could not be created."""
    interrupted: bool = False
    fatal: str | None = None
    seconds: float = 0.0
    """From the start of the command to its end."""
    seconds_to_open: float | None = None
    """From the start of the command until an engine was open and started on the first image; None: it never did."""
    seconds_to_first: float | None = None
    """From the start of the command until the first image was written; None: none was."""
    prompt_sets: dict[str, int] = field(default_factory=dict)
    """Images created by this run, for each prompt set."""
    facts: dict[str, int] = field(default_factory=dict)
    """What the engine reports of them, such as "geometry depth-mm16": how many."""
    servers: dict[str, int] = field(default_factory=dict)
    """Images created by this run, by the address of the server that created them; empty without servers."""
    doubtful: list[tuple[str, list[str]]] = field(default_factory=list)
    """(path, reasons) of images of this run whose head's mask may be wrong."""
    unused_depths: list[tuple[str, str]] = field(default_factory=list)
    """(path, reason) of images of this run whose depth map could not be used."""
    gate: dict[str, int] = field(default_factory=dict)
    """How the gate's images came about, and how many it skipped; empty without a gate."""
    rebuilt: dict[str, int] = field(default_factory=dict)
    """Of --repair: what was not in the ledger, but in OUT, by how that was known."""
    contact_sheet: Path | None = None

    @property
    def rate(self) -> float:
        """Images a second of this run."""
        return self.created / self.seconds if self.seconds > 0 else 0.0

    def use_gate(self) -> None:
        """Counts the gate's ways from zero."""
        self.gate = dict.fromkeys((*WAYS, GATE_SKIPPED), 0)

    def add(self, result: JobResult, seconds: float) -> None:
        """Counts an image that was written or skipped, so long after the start of the command."""
        if result.skipped is not None:
            self.skipped.append((result.key, result.skipped))
            if result.attempts:
                self.gate[GATE_SKIPPED] += 1
            return
        self.created += 1
        if self.seconds_to_first is None:
            self.seconds_to_first = seconds
        record = result.record
        _count(self.prompt_sets, record["prompt_set"])
        for name, value in record["facts"].items():
            _count(self.facts, f"{name} {value}")
        if "server" in record:
            _count(self.servers, record["server"])
        if "way" in record:
            _count(self.gate, record["way"])
        if doubts := record.get("doubts"):
            self.doubtful.append((result.key, doubts))
        if unused := record.get("unused_depth"):
            self.unused_depths.append((result.key, unused))


def _count(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1
