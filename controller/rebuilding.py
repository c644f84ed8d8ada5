"""A ledger that is lost, or behind what lies in OUT: rebuilt from the manifest and the records inside the pictures.

A picture counts as done again where its bytes have the hash that the manifest tells, or, where the manifest does not
know it, where it is whole and its own record is that of the plan. Label, depth and point mask are then compared as
--verify does. What does not count stays planned, and is made again. JPEG has no checksum: a picture that was altered
without losing its record is noticed by the manifest alone.
"""

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import acusim
from acusim.errors import AcuSimError, ConfigError, LabelError, OutputError, shown
from acusim.files import printable, safe_join, sha256
from acusim.pictures import check_whole, decode_provenance, read_file
from acusim.point_mask import mask_path, read_point_mask
from acusim.seeds import derive_seed
from controller.gate import WAYS, Attempt, attempts
from controller.job import Job, job_of
from controller.ledger import DONE, LEDGER_FILE, STATE_FOLDER, SUFFIXES, DamagedLedger, Done, Ledger
from controller.making import PROGRAM, REASON_LENGTH, line_of
from controller.plan import Plan
from controller.planning import plan_batch
from controller.results import ASIDE
from controller.settings import Settings, check_identity, refuse_other
from controller.traces import gone, holds_more, kept_state, manifest_lines, pictures_of
from engines.recipe import DIFFUSION
from engines.scenes import Scene

NEW_FILE = "ledger.new.sqlite"
"""A ledger that is being rebuilt."""
_TEXTS = ("image", "label", "sample", "source", "prompt_set", "label_sha256", "source_sha256")
"""What a record must hold as text, beside what its plan decides."""
_COMPANIONS = ("depth", "mask")
_FIRST = 3
"""So many differences are named."""


@dataclass(slots=True)
class Rebuilt:
    """What was found in an OUT."""

    by_manifest: int = 0
    """Pictures whose bytes are those of the manifest."""
    by_record: int = 0
    """Pictures that the manifest does not know, with a record that is the plan's."""
    aside: int = 0
    """Items that the manifest tells as set aside."""
    refused: list[tuple[str, str]] = field(default_factory=list)
    """(key, reason) of pictures that do not count."""

    @property
    def counts(self) -> dict[str, int]:
        """How many items became known in which way; only what there is."""
        found = {"by manifest": self.by_manifest, "by record": self.by_record, "set aside": self.aside}
        return {name: count for name, count in found.items() if count}


def rebuild_if_lost(
    settings: Settings, plan: Plan, scenes: tuple[Scene, ...], identity: dict[str, Any], note: Callable[[str], None]
) -> Rebuilt | None:
    """Makes the ledger of an OUT anew where it cannot be used; the old one stays in its folder under another name.

    Until the new one is whole, the old one stays where it is.

    Args:
        settings: of the batch.
        plan: everything of the data set.
        scenes: of the batch.
        identity: of the batch, see settings.identity_of.
        note: called with what a user should know.

    Returns:
        What was found; None if the ledger is whole.

    Raises:
        ConfigError: OUT was begun with other settings; names the differences.
        OutputError: the folder cannot be written.
    """
    path = settings.output / STATE_FOLDER / LEDGER_FILE
    reason = _damage(settings.output, path)
    if reason is None:
        return None
    note(f"{reason}; it is rebuilt from manifest.jsonl and the records inside the pictures")
    kept = kept_state(settings.output)
    asked: list[str] = []
    if kept:
        refuse_other(kept["identity"], kept["bald codes"], settings, plan, identity)
        asked = _asked(settings, kept["settings"])
    fresh = path.with_name(NEW_FILE)
    try:
        for suffix in SUFFIXES:
            fresh.with_name(fresh.name + suffix).unlink(missing_ok=True)
        with Ledger(fresh) as ledger:
            found = adopt(ledger, settings, plan, scenes, identity, asked, strict=kept is None)
            ledger.set_meta("identity", kept["identity"] if kept else identity)
            ledger.set_meta("bald codes", kept["bald codes"] if kept else {})
            check_identity(ledger, settings, plan, identity)
        aside = _put_aside(path)
        os.rename(fresh, path)
    except OSError as error:
        raise OutputError(f"ledger {str(path)!r} cannot be rebuilt: {error.strerror or error}") from None
    told = f"{found.by_manifest} pictures by manifest.jsonl, {found.by_record} by their own records alone"
    note(
        f"the ledger is rebuilt: {told}, {found.aside} set aside"
        + (f"; the old one is {str(aside)!r}" if aside else "")
    )
    if not kept:
        note("what else OUT was asked for is not known any more: --batch with the same settings finishes it")
    return found


def _damage(output: Path, path: Path) -> str | None:
    """What is wrong with the ledger of an OUT, None if it is whole."""
    try:
        if not os.path.lexists(path) or (path.is_file() and not path.is_symlink() and not path.stat().st_size):
            if holds_more(output):
                raise gone(output)
            return None
        with Ledger(path, read_only=True) as ledger:
            if ledger.get_meta("identity") is not None:
                ledger.check()
            elif holds_more(output):
                raise gone(output)
        return None
    except DamagedLedger as error:
        return error.what


def _put_aside(path: Path) -> Path | None:
    """Gives a ledger another name; None if there is none."""
    if not os.path.lexists(path):
        return None
    names = (path.with_name(f"ledger.damaged-{number}.sqlite") for number in itertools.count(1))
    aside = next(name for name in names if not os.path.lexists(name))
    for suffix in SUFFIXES:
        file = path.with_name(path.name + suffix)
        if os.path.lexists(file):
            os.rename(file, aside.with_name(aside.name + suffix))
    return aside


def _asked(settings: Settings, stored: dict[str, Any]) -> list[str]:
    """The keys of the last run that asked for something."""
    last = Settings.from_stored(stored, settings.output, settings.workers)
    asked, *_ = plan_batch(dataclasses.replace(settings, select=last.select, limit=last.limit, repair=False))
    return [item.key for item in asked.items] + [key for key, _ in asked.aside]


def adopt(
    ledger: Ledger,
    settings: Settings,
    plan: Plan,
    scenes: tuple[Scene, ...],
    identity: dict[str, Any],
    asked: Iterable[str] = (),
    strict: bool = False,
) -> Rebuilt:
    """Notes in the ledger what lies in OUT and verifies, as far as it is not done there; nothing is committed.

    Args:
        ledger: open for writing.
        settings: of the batch.
        plan: everything of the data set.
        scenes: of the batch.
        identity: of the batch, see settings.identity_of.
        asked: keys that OUT was asked for, as far as that is known.
        strict: whether a picture that was made with other settings is an error. It is where nothing but the command
            line says which settings OUT was begun with.

    Raises:
        ConfigError: strict, and pictures were made with other settings; names the differences.
    """
    output, states = settings.output, ledger.states()
    known = {key for key, (state, *_) in states.items() if state == DONE}
    lines = {line["image"]: line for line in manifest_lines(output) if printable(line["image"]) == line["image"]}
    jobs = {item.key: job_of(item, plan, scenes, settings.seed) for item in plan.items}
    on_disk = {path.relative_to(output).as_posix() for path in pictures_of(output)}
    tries = attempts(settings.gate, settings.recipe) if settings.gate else (Attempt("planned", settings.recipe),)
    examine = _Examiner(output, settings, identity, tries, jobs, lines)
    found = Rebuilt()
    keys = sorted(key for key in on_disk - known if printable(key) == key)
    ledger.plan(asked)
    foreign: list[tuple[str, str]] = []
    for key, answer in zip(keys, _spread(examine, keys), strict=True):
        if isinstance(answer, _Foreign):
            foreign.append((key, answer.why))
        elif isinstance(answer, str):
            if key in jobs or key in lines:
                found.refused.append((key, answer))
        else:
            ledger.plan([key])
            ledger.finish([answer.done])
            found.by_manifest += answer.by_manifest
            found.by_record += not answer.by_manifest
            known.add(key)
    if foreign and strict:
        told = "; ".join(f"{key}: {why}" for key, why in foreign[:_FIRST])
        raise ConfigError(
            f"{len(foreign)} pictures in {str(output)!r} were made with other settings ({told}); say those, or move "
            "these pictures away"
        )
    found.refused += foreign
    ledger.plan(key for key in lines.keys() | {key for key, _ in found.refused} if key in jobs)
    told = (line for key, line in sorted(lines.items()) if line["status"] == ASIDE)
    aside = [_aside(line) for line in told if line["image"] not in known | states.keys()]
    ledger.set_aside(aside)
    found.aside = len(aside)
    return found


def _spread(examine: "_Examiner", keys: Sequence[str]) -> Iterator["_Found | _Foreign | str"]:
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        yield from pool.map(examine, keys)
    finally:
        pool.shutdown(cancel_futures=True)


def _aside(line: dict[str, Any]) -> tuple[str, str, list[dict[str, Any]]]:
    said = line.get("attempts")
    whole = isinstance(said, list) and all(isinstance(attempt, dict) for attempt in said)
    return line["image"], str(line.get("reason"))[:REASON_LENGTH], said if whole and isinstance(said, list) else []


@dataclass(frozen=True, slots=True)
class _Found:
    done: Done
    by_manifest: bool


@dataclass(frozen=True, slots=True)
class _Foreign:
    """A picture of this program, whole, but of other settings."""

    why: str


class _Examiner:
    """Looks at single pictures; called from several threads."""

    def __init__(
        self,
        output: Path,
        settings: Settings,
        identity: dict[str, Any],
        tries: Sequence[Attempt],
        jobs: dict[str, Job],
        lines: dict[str, dict[str, Any]],
    ):
        self._output, self._settings, self._identity = output, settings, identity
        self._tries, self._jobs, self._lines = tries, jobs, lines

    def __call__(self, key: str) -> "_Found | _Foreign | str":
        """The picture as done, or why it is not."""
        try:
            data = read_file(safe_join(self._output, key))
            digest = sha256(data)
            line = self._lines.get(key)
            if line is not None and line["status"] == DONE and line.get("sha256") == digest:
                record = {name: value for name, value in line.items() if name not in ("status", "sha256")}
                return self._judged(key, record, record, digest, len(data), by_manifest=True)
            inside = decode_provenance(data, key)
            record = line_of(inside)
            if line is not None and line["status"] == DONE and record.items() <= line.items():
                return "not the bytes that the manifest tells: it was altered"
            if inside.get("program") != PROGRAM or inside.get("image") != key:
                return "its record is that of another picture"
            check_whole(data, key)
            record |= self._mask(record, digest)
            return self._judged(key, record, inside, digest, len(data), by_manifest=False)
        except AcuSimError as error:
            return str(error)

    def _judged(
        self, key: str, record: dict[str, Any], whole: dict[str, Any], digest: str, size: int, by_manifest: bool
    ) -> "_Found | _Foreign | str":
        texts = [*_TEXTS, *(f"{name}_sha256" for name in _COMPANIONS if name in record)]
        texts += [name for name in _COMPANIONS if name in record]
        wrong = [name for name in texts if not isinstance(record.get(name), str)]
        attempt = record.get("attempt")
        if wrong or type(attempt) is not int or not isinstance(record.get("facts"), dict):
            return f"its record is not whole: {', '.join(wrong or ['attempt, facts'])}"
        if self._settings.gate is None and "way" in record or self._settings.gate is not None and not _is_gated(record):
            return _Foreign("a gate was used" if self._settings.gate is None else "no gate was used")
        if key in self._jobs:
            difference = self._difference(self._jobs[key], record, whole, attempt)
            if difference:
                return _Foreign(difference)
        return _Found(Done(key, attempt, digest, size, record, 0.0, ""), by_manifest)

    def _difference(self, job: Job, record: dict[str, Any], whole: dict[str, Any], attempt: int) -> str | None:
        """What of a record is not as the plan has it, None if all is."""
        if not 0 <= attempt < len(self._tries):
            return f"attempt {attempt} of {len(self._tries)}"
        recipe, sample = self._tries[attempt].recipe, job.sample
        wanted: dict[str, Any] = {
            "image": job.key,
            "label": job.folder + sample.label,
            "sample": str(sample.id),
            "source": sample.image,
            "variant": job.variant,
            "recipe": recipe.hash,
            "engine": recipe.engine,
            "seed": derive_seed(self._settings.seed, sample.id, job.variant, attempt),
            "scene": job.scene.name,
            "scene_sha256": job.scene.sha256,
            "bald": job.bald,
            "prompt_set": job.prompt_set,
        }
        inside = {"positive": job.positive, "negative": job.negative, "version": acusim.__version__}
        pairs = [(name, record.get(name), value) for name, value in wanted.items()]
        pairs += [(name, whole[name], value) for name, value in inside.items() if name in whole]
        facts = record["facts"]
        for name, value in self._identity.items():  # a fact may be the beginning of a hash
            if isinstance(facts.get(name), str) and not str(value).startswith(facts[name]):
                pairs.append((name, facts[name], value))
        for name, was, now in pairs:
            if was != now:
                return f"{name} is {shown(was)}, these settings give {shown(now)}"
        return None

    def _mask(self, record: dict[str, Any], digest: str) -> dict[str, str]:
        """What the manifest tells of a picture's point mask.

        Raises:
            LabelError: there should be one, but there is none of this picture.
        """
        gated = self._settings.gate is not None and record.get("engine") in DIFFUSION
        if not gated or not isinstance(record.get("source"), str):
            return {}
        folder = str(record["image"])[: -len(record["source"])]
        relative = folder + mask_path(record["source"])
        path = safe_join(self._output, relative)
        if read_point_mask(path).image_sha256 != digest:
            raise LabelError(f"point mask {relative!r} is of another picture")
        return {"mask": relative, "mask_sha256": sha256(read_file(path, "point mask"))}


def _is_gated(record: dict[str, Any]) -> bool:
    """Whether a record tells a gate's attempts."""
    tried = record.get("attempts")
    return record.get("way") in WAYS and isinstance(tried, list) and all(isinstance(each, dict) for each in tried)
