"""What an existing OUT holds: its ledger, opened for reading, and the settings of its last batch."""

from pathlib import Path

from acusim.errors import ConfigError
from controller.ledger import LEDGER_FILE, STATE_FOLDER, DamagedLedger, Ledger
from controller.settings import BatchSettings
from controller.traces import created_here, kept_state, lost_ledger


def open_ledger(output: Path) -> Ledger:
    """The ledger of an OUT for reading.

    Raises:
        ConfigError: there is none.
        DamagedLedger: there was one.
    """
    path = output / STATE_FOLDER / LEDGER_FILE
    if path.parent.is_symlink() or not (path.is_file() and path.stat().st_size):
        if created_here(output):
            raise lost_ledger(output)
        if path.is_file() and not path.parent.is_symlink():
            raise ConfigError(f"ledger {str(path)!r} is empty: no batch got as far as planning")
        raise ConfigError(f"--output {str(output)!r} holds no ledger: it was not created by --batch")
    ledger = Ledger(path, read_only=True)
    try:
        if ledger.get_meta("identity") is None and created_here(output):
            raise lost_ledger(output)
    except BaseException:
        ledger.close()
        raise
    return ledger


def stored_settings(ledger: Ledger, output: Path) -> BatchSettings:
    """The settings of the last batch.

    Raises:
        ConfigError: the ledger holds none.
    """
    stored = ledger.get_meta("settings")
    if stored is None and created_here(output):
        raise lost_ledger(output)
    if stored is None:
        raise ConfigError(f"the ledger in {str(output)!r} holds no settings: no batch was ever started")
    return BatchSettings.from_stored(stored, output)


def repair_settings(output: Path) -> BatchSettings:
    """The settings of the last batch, also where the ledger cannot be used.

    Raises:
        ConfigError: only the images are left; names what to do.
    """
    try:
        with open_ledger(output) as ledger:
            return stored_settings(ledger, output)
    except DamagedLedger as error:
        kept = kept_state(output)
        if kept is None:
            raise ConfigError(
                f"{error.what}, and its settings are gone, too: run --repair --output {output} with --dataset and the "
                "other settings of the batch, such as --engine, --seed and --variants; they are compared with those "
                "in the images' own records"
            ) from None
        return BatchSettings.from_stored(kept["settings"], output)
