"""A start by accelerate or torchrun: one of the processes becomes the controller, the others have nothing to do.

A batch has one plan, one ledger and one lock on OUT; the GPUs that the launcher meant for its processes go to the
processes of the one controller's engine.
"""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

from acusim.errors import ConfigError

# Of torch's elastic launcher, and of the MPI implementations that accelerate starts by.
_RANK = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
_LOCAL_RANK = ("LOCAL_RANK", "MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_RANK")
_WORLD = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
_LOCAL = ("LOCAL_WORLD_SIZE", "MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE", "MV2_COMM_WORLD_LOCAL_SIZE")
_ADDRESS = ("MASTER_ADDR", "MASTER_PORT")
_OURS = ("ACCELERATE_", "TORCHELASTIC_", "GROUP_RANK", "GROUP_WORLD_SIZE", "ROLE_")
_PINNING = ("KMP_AFFINITY", "KMP_BLOCKTIME")


@dataclass(frozen=True, slots=True)
class Launch:
    """The launcher's facts of this process."""

    rank: int
    local_rank: int
    """Among the processes on this machine."""
    world: int
    """Processes on all machines."""
    processes: int
    """Processes on this machine."""
    cpu: bool
    """No GPU is to be used."""
    single: bool = False
    """Several processes were asked for, and only this one was started."""

    @property
    def leads(self) -> bool:
        """Whether this process is the one that works on this machine."""
        return self.local_rank == 0

    def check(self) -> None:
        """Refuses a start on several machines.

        Raises:
            ConfigError: names what to do instead.
        """
        if self.world != self.processes or self.rank != self.local_rank:
            raise ConfigError(
                f"started as {self.world} processes on several machines, {self.processes} of them here, but one OUT "
                "belongs to one machine: start each by itself, with its own share of the samples and its own OUT, such "
                "as --select frame=1-72 --output OUT1 and --select frame=73-144 --output OUT2"
            )


def launched(environment: Mapping[str, str]) -> Launch | None:
    """How this process was launched; None if it was started by itself."""
    rank, local_rank, world, local = (_number(environment, names) for names in (_RANK, _LOCAL_RANK, _WORLD, _LOCAL))
    cpu = environment.get("ACCELERATE_USE_CPU") == "True"
    addressed = _ADDRESS[0] in environment
    if rank is not None and local_rank is not None and world is not None and addressed:
        return Launch(rank, local_rank, world, world if local is None else local, cpu)
    if "ACCELERATE_MIXED_PRECISION" in environment:
        return Launch(0, 0, 1, 1, cpu, single=addressed)
    return None


def forget(environment: MutableMapping[str, str]) -> None:
    """Removes the launcher's variables: libraries would wait for the processes that have ended."""
    # Meant for processes with cores of their own; several on the same cores would be pinned to the same ones.
    pinned = _PINNING if environment.get("ACCELERATE_USE_CPU") == "True" else ()
    named = {*_RANK, *_LOCAL_RANK, *_WORLD, *_LOCAL, *_ADDRESS, *pinned}
    for name in [name for name in environment if name in named or name.startswith(_OURS)]:
        del environment[name]


def _number(environment: Mapping[str, str], names: tuple[str, ...]) -> int | None:
    text = next((environment[name] for name in names if name in environment), "")
    return int(text) if text.isascii() and text.isdigit() else None
