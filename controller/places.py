"""Whether a folder may be OUT, and the folder of ledger and lock in it."""

from pathlib import Path

from acusim.errors import ConfigError, LayoutError, OutputError
from acusim.files import overlap
from controller.ledger import LEDGER_FILE, STATE_FOLDER
from controller.traces import created_here, holds_more, lost_ledger


def check_places(dataset: Path, output: Path, repair: bool = False) -> None:
    """Refuses an output folder that would mix with the dataset, or with files of somebody else.

    Args:
        dataset: root of the data set.
        output: OUT.
        repair: OUT may be one whose ledger is gone.

    Raises:
        ConfigError: names the folder, and what to do.
        DamagedLedger: OUT was created by a batch, but its ledger is gone.
    """
    try:
        source, target = dataset.resolve(), output.resolve()
        exists, is_folder = output.exists(), output.is_dir()
        others = bool(is_folder) and holds_more(output)
    except LayoutError as error:
        raise ConfigError(f"--output: {error}") from None
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of symbolic links
        raise ConfigError(f"--dataset or --output is not a usable path: {error}") from None
    if overlap(source, target):
        raise ConfigError(
            f"--output {str(output)!r} and --dataset {str(dataset)!r} are the same or one is in the other; "
            "name two separate folders"
        )
    if exists and not is_folder:
        raise ConfigError(f"--output {str(output)!r} is not a folder")
    ledger = output / STATE_FOLDER / LEDGER_FILE
    if others and not (ledger.is_file() and ledger.stat().st_size):
        if not created_here(output):
            raise ConfigError(
                f"--output {str(output)!r} holds files but no ledger of this program; name a new or an empty folder"
            )
        if not repair:
            raise lost_ledger(output)


def state_folder(output: Path) -> Path:
    """The folder of ledger and lock, created if it is missing.

    Raises:
        OutputError: it cannot be created.
        ConfigError: it is a link.
    """
    state = output / STATE_FOLDER
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"output folder {str(output)!r} cannot be written: {error.strerror}") from None
    if state.is_symlink():
        raise ConfigError(f"{str(state)!r} is a symbolic link; it must be a folder of this OUT")
    return state
