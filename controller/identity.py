"""Whether OUT may be continued under the settings that are asked for."""

from typing import Any

from acusim.errors import ConfigError
from controller.ledger import DONE, Ledger
from controller.planning import PlannedBatch
from controller.traces import keep_state


def refuse_other(stored: dict[str, Any], codes: dict[str, bool], batch: PlannedBatch) -> None:
    """Refuses a batch that has not the stored identity of OUT, or another verdict on its bald codes; codes may join.

    Raises:
        ConfigError: names what differs.
    """
    changes = [
        (name, stored.get(name), value)
        for name, value in batch.identity.items()
        if _comparable(name, stored.get(name)) != _comparable(name, value)
    ]
    changes += [
        (f"bald codes, {entry.code}", codes[entry.code], entry.bald)
        for entry in batch.plan.evidence
        if codes.get(entry.code, entry.bald) != entry.bald
    ]
    if changes:
        text = "; ".join(f"{name}: {_short(old)} -> {_short(new)}" for name, old, new in changes)
        raise ConfigError(
            f"{str(batch.output)!r} was created with other settings ({text}); use those, or another --output"
        )


def stored_identity(ledger: Ledger, batch: PlannedBatch) -> dict[str, Any] | None:
    """What OUT was created with, None where that does not count: nothing is done, so a setting may be corrected."""
    stored = ledger.get_meta("identity")
    return stored if stored == batch.identity or ledger.counts()[DONE] else None


def check_identity(ledger: Ledger, batch: PlannedBatch) -> None:
    """Makes sure that OUT was created with these settings, then stores them.

    Raises:
        ConfigError: names what differs.
        OutputError: they cannot be stored.
    """
    stored, codes = stored_identity(ledger, batch), ledger.get_meta("bald codes") or {}
    if stored is not None:
        refuse_other(stored, codes, batch)
    else:
        ledger.forget(ledger.states())
        codes = {}
    codes |= {entry.code: entry.bald for entry in batch.plan.evidence}
    state = {"identity": batch.identity, "bald codes": codes, "settings": batch.settings.stored()}
    for name, value in state.items():
        ledger.set_meta(name, value)
    ledger.commit()
    keep_state(batch.output, state)


def _comparable(name: str, value: Any) -> Any:
    """A value of the identity; a model's name is the same with either path separator."""
    return value.replace("\\", "/") if name.startswith("recipe.") and isinstance(value, str) else value


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"
