"""Judges single images of an OUT whose ledger is lost: whether their bytes and records are those of the plan."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import acusim
from acusim.acupoints import NAMES
from acusim.errors import AcuSimError, LabelError, shown
from acusim.files import safe_join, sha256
from acusim.keypoints import KeypointPicture
from acusim.pictures import check_whole, decode_provenance, read_file
from acusim.point_mask import mask_path, read_point_mask
from acusim.seeds import derive_seed
from controller.gate import WAYS, Attempt, attempts
from controller.job import Job
from controller.ledger import Done
from controller.planning import PlannedBatch
from controller.records import PROGRAM, line_of, planned_line
from controller.results import DONE
from engines.recipe import DIFFUSION

_TEXTS = ("image", "label", "sample", "source", "prompt_set", "source_sha256")
"""What a record must hold as text, beside what its plan decides."""
_COMPANIONS = ("depth", "mask")


@dataclass(frozen=True, slots=True)
class Found:
    """An image that counts as done."""

    done: Done
    by_manifest: bool
    """Whether the manifest has its hash; else its own record is that of the plan."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """An intact image of this program, but of other settings."""

    why: str


class Examiner:
    """Judges images of one batch; may be called from several threads.

    Args:
        batch: everything of the data set.
        jobs: its jobs by key.
        lines: of the manifest, by key.
    """

    def __init__(self, batch: PlannedBatch, jobs: dict[str, Job], lines: dict[str, dict[str, Any]]):
        self._batch, self._jobs, self._lines = batch, jobs, lines
        gate, recipe = batch.settings.gate, batch.settings.recipe
        self._attempts = attempts(gate, recipe) if gate else (Attempt("planned", recipe),)
        # A label of many pictures is no part of any image.
        own_labels = not any(name.endswith(".json") for name in batch.plan.shared)
        self._texts = (*_TEXTS, *(["label_sha256"] if own_labels else []))

    def __call__(self, key: str) -> "Found | Foreign | str":
        """The image as done, or why it is not."""
        try:
            data = read_file(safe_join(self._batch.output, key))
            digest, line = sha256(data), self._lines.get(key)
            listed = line if line is not None and line["status"] == DONE else None
            if listed is not None and listed.get("sha256") == digest:
                record = {name: value for name, value in listed.items() if name not in ("status", "sha256")}
                return self._judge(key, record, record, digest, len(data), by_manifest=True)
            inside = decode_provenance(data, key)
            record = line_of(inside)
            if listed is not None and record.items() <= listed.items():
                return "not the bytes of the manifest's hash: it was altered"
            if inside.get("program") != PROGRAM or inside.get("image") != key:
                return "its record is that of another image"
            check_whole(data, key)
            record |= self._mask(key, record, digest)
            return self._judge(key, record, inside, digest, len(data), by_manifest=False)
        except AcuSimError as error:
            return str(error)

    def _judge(
        self, key: str, record: dict[str, Any], inside: dict[str, Any], digest: str, size: int, by_manifest: bool
    ) -> "Found | Foreign | str":
        texts = [*self._texts, *(f"{name}_sha256" for name in _COMPANIONS if name in record)]
        texts += [name for name in _COMPANIONS if name in record]
        wrong = [name for name in texts if not isinstance(record.get(name), str)]
        attempt = record.get("attempt")
        if wrong or type(attempt) is not int or not isinstance(record.get("facts"), dict):
            return f"its record is incomplete: {', '.join(wrong or ['attempt, facts'])}"
        gate = self._batch.settings.gate
        if gate is None and "way" in record or gate is not None and not _is_gated(record):
            return Foreign("a gate was used" if gate is None else "no gate was used")
        if key in self._jobs:
            difference = self._difference(self._jobs[key], record, inside, attempt)
            if difference:
                return Foreign(difference)
        return Found(Done(key, attempt, digest, size, record, 0.0, ""), by_manifest)

    def _difference(self, job: Job, record: dict[str, Any], inside: dict[str, Any], attempt: int) -> str | None:
        """What of a record is not as the plan has it, None if all is."""
        if not 0 <= attempt < len(self._attempts):
            return f"attempt {attempt} of {len(self._attempts)}"
        seed = derive_seed(self._batch.settings.seed, job.sample.id, job.variant, attempt)
        planned = planned_line(dataclasses.replace(job, attempt=attempt, seed=seed), self._attempts[attempt].recipe)
        texts = {"positive": job.positive, "negative": job.negative, "version": acusim.__version__}
        pairs = [(name, record.get(name), value) for name, value in planned.items()]
        pairs += [(name, inside[name], value) for name, value in texts.items() if name in inside]
        facts = record["facts"]
        for name, value in self._batch.identity.items():  # a fact may be the beginning of a hash
            if isinstance(facts.get(name), str) and not str(value).startswith(facts[name]):
                pairs.append((name, facts[name], value))
        for name, was, now in pairs:
            if was != now:
                return f"{name} is {shown(was)}, these settings give {shown(now)}"
        return None

    def _mask(self, key: str, record: dict[str, Any], digest: str) -> dict[str, str]:
        """The manifest's facts of an image's point mask.

        Raises:
            LabelError: there should be one, but there is none of this image.
        """
        gated = self._batch.settings.gate is not None and record.get("engine") in DIFFUSION
        if not gated or not isinstance(record.get("source"), str):
            return {}
        folder = str(record["image"])[: -len(record["source"])]
        relative = folder + mask_path(record["source"])
        path = safe_join(self._batch.output, relative)
        sample = self._jobs[key].sample if key in self._jobs else None
        names = sample.points.names if isinstance(sample, KeypointPicture) else NAMES
        if read_point_mask(path, names).image_sha256 != digest:
            raise LabelError(f"point mask {relative!r} is of another image")
        return {"mask": relative, "mask_sha256": sha256(read_file(path, "point mask"))}


def _is_gated(record: dict[str, Any]) -> bool:
    """Whether a record holds a gate's attempts."""
    tried = record.get("attempts")
    return record.get("way") in WAYS and isinstance(tried, list) and all(isinstance(each, dict) for each in tried)
