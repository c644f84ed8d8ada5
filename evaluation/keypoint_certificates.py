"""Certificates for data sets of keypoints that are not AcuSim's: labelme's and COCO's."""

import dataclasses
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from acusim import parallel
from acusim.dataset_root import VARIANT
from acusim.errors import ConfigError, LayoutError
from acusim.files import safe_join, sha256
from acusim.folders import list_folder
from acusim.keypoints import KeypointPicture, KeypointSet
from acusim.parallel import Work
from acusim.photo_decoding import decode_photograph
from acusim.pictures import MAX_PIXELS, read_file
from acusim.point_mask import mask_path
from acusim.results import csv_line, json_values, write_result
from evaluation.analysis import faded_note
from evaluation.cutouts import cut_out_subject
from evaluation.masks import mask_bytes, record_of
from evaluation.measuring import CERTIFICATE, Measured, Worker, measured, prepare, write_mask
from evaluation.output import FORMAT, PROBLEMS_LISTED, SUMMARY, kind_of
from evaluation.pairs import Problem
from evaluation.reference import keypoint_reference, size_note
from evaluation.settings import PairSettings, ReportSettings
from evaluation.store import Store

MARGIN = "5/277 of the picture's width"
"""What 5 mm are here: nothing is known of a picture's scale."""


@dataclass(frozen=True, slots=True, eq=False)
class KeypointPair:
    """An original and its augmented image."""

    picture: KeypointPicture
    variant: str
    """Folder of the variant with its slash, or empty."""

    @property
    def augmented(self) -> str:
        """Path of the augmented image."""
        return self.variant + self.picture.image


@dataclass(frozen=True, eq=False)
class Judged:
    """A pair with the record of its certificate."""

    pair: KeypointPair
    record: dict[str, Any]

    @cached_property
    def trusted(self) -> dict[str, bool]:
        """For each visible point by name, whether its label is certainly still true."""
        names = self.pair.picture.points.names
        return {names[row]: bool(ok) for row, *_, ok in self.record["points"]}


def check_settings(settings: PairSettings, found: KeypointSet) -> None:
    """Refuses settings that speak of AcuSim's sample IDs.

    Raises:
        ConfigError: names the option.
    """
    given = [f"--{name}" for name in ("size", "select", "cluster") if getattr(settings, name, None) is not None]
    given += ["--bald-codes"] if settings.bald_codes != "auto" else []
    if given:
        raise ConfigError(f"{', '.join(given)}: not for {found.format} data sets, such as {str(settings.original)!r}")


def pairs_of(found: KeypointSet, augmented: Path) -> tuple[list[KeypointPair], list[Problem]]:
    """The pictures of a data set with their augmented images, which have the same paths; and those without.

    Raises:
        LayoutError: there is none.
    """
    own = {picture.image.split("/")[0] for picture in found.pictures}  # a folder of the data set is no variant of it
    entries = [entry for entry in list_folder(augmented) if entry.kind == "folder" and VARIANT.fullmatch(entry.name)]
    folders = [f"{entry.name}/" for entry in entries if entry.name not in own]
    pairs: list[KeypointPair] = []
    problems = [Problem(problem.path, problem.reason) for problem in found.problems]
    for folder in folders or [""]:
        for picture in found.pictures:
            if safe_join(augmented, folder + picture.image).is_file():
                pairs.append(KeypointPair(picture, folder))
            else:
                problems.append(Problem(folder + picture.image, "no augmented picture of this path"))
    if not pairs:
        raise LayoutError(f"no picture of {str(augmented)!r} has the path of one in {str(found.root)!r}")
    return sorted(pairs, key=lambda pair: pair.augmented), problems


def certify(
    settings: ReportSettings, found: KeypointSet, advance: Callable[[int, int], None]
) -> tuple[dict[str, Any], list[Problem]]:
    """Certifies every augmented image; writes certificates.json, certificates.csv, drop.csv and point masks.

    Args:
        settings: of the run.
        found: the originals.
        advance: called with (items done, items in all).

    Returns:
        The content of certificates.json, and what could not be measured.

    Raises:
        ConfigError, LayoutError: the settings or roots are wrong, or nothing fits.
        OutputError: a file cannot be written.
    """
    check_settings(settings, found)
    if os.path.realpath(settings.original) == os.path.realpath(settings.augmented):
        raise ConfigError(f"--original and --augmented are the same folder, {str(settings.original)!r}; name two")
    pairs, problems = pairs_of(found, settings.augmented)
    pairs = pairs[: settings.limit]
    results: dict[str, Measured] = {}
    with Store(settings.out) as store:
        advance(0, len(pairs))
        work = parallel.run(measure, pairs, settings.workers, prepare=prepare, arguments=(settings, store.path))
        for done, (pair, result) in enumerate(work, start=1):
            if isinstance(result, parallel.Died):
                result = Measured([str(result)], lost=True)
            store.add(result.records)
            result.records = []
            results[pair.augmented] = result
            advance(done, len(pairs))
    problems += [Problem(pair.augmented, text) for pair in pairs for text in results[pair.augmented].problems]
    judged = [Judged(pair, known) for pair in pairs if (known := results[pair.augmented].certificates.get("augmented"))]
    faded = faded_note((entry.record for entry in judged), settings.thresholds.least_contrast)
    notes = [*found.notes, *filter(None, [faded, size_note(min(max(pair.picture.size) for pair in pairs))])]
    content = _content(settings, judged, problems, notes)
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    write_result(settings.out / "certificates.json", text.encode())
    write_result(settings.out / "certificates.csv", _lines(judged))
    write_result(settings.out / "drop.csv", _drop_lines(judged))
    return content, problems


def measure(pair: KeypointPair, work: Work) -> Measured:
    """Certifies a pair in a prepared process; what is wrong with it is reported in the result.

    Raises:
        OutputError: a point mask cannot be written.
    """
    return measured(lambda out: _measure(work.state, pair, out))


def _measure(worker: Worker, pair: KeypointPair, out: Measured) -> None:
    settings, picture, points = worker.settings, pair.picture, pair.picture.points
    image = read_file(safe_join(settings.original, picture.image))
    mask = read_file(safe_join(settings.original, picture.mask), "mask") if picture.mask else None
    augmented = read_file(safe_join(settings.augmented, pair.augmented))
    digests = [sha256(data) for data in (image, augmented, mask or b"")]
    key = " ".join((CERTIFICATE, worker.limits, points.sha256, *digests))

    def compute() -> dict[str, Any]:
        cutout = cut_out_subject(picture, image, mask)
        reference = keypoint_reference(cutout.pixels, cutout.alpha, points)
        pixels = decode_photograph(augmented, pair.augmented, MAX_PIXELS).pixels
        return record_of(worker.judge.compare(reference, pixels)) | {"notes": []}

    record = worker.cached(key, out, compute)
    out.certificates["augmented"] = record
    if settings.masks is not None:
        data = mask_bytes(record, points, picture.image, sha256(augmented), settings.thresholds.tolerance_mm)
        write_mask(safe_join(settings.masks, pair.variant + mask_path(picture.image)), data)


def _content(
    settings: ReportSettings, judged: Sequence[Judged], problems: Sequence[Problem], notes: Sequence[str]
) -> dict[str, Any]:
    accepted = [entry for entry in judged if entry.record["accept"]]
    counts: dict[str, list[int]] = {}
    for entry in judged:
        for name, ok in entry.trusted.items():
            row = counts.setdefault(name, [0, 0])
            row[0], row[1] = row[0] + 1, row[1] + ok
    visible, trusted = (sum(row[column] for row in counts.values()) for column in (0, 1))
    return json_values(
        {
            "format": FORMAT,
            "pairs": len(judged),
            "problems": {
                "count": len(problems),
                "items": [dataclasses.asdict(problem) for problem in problems[:PROBLEMS_LISTED]],
            },
            "notes": list(notes),
            "certificate": {
                "thresholds": settings.thresholds.as_dict(),
                "pictures": len(judged),
                "accepted": len(accepted) / len(judged) if judged else None,
                "visible": visible,
                "trusted": trusted / visible if visible else None,
                "reasons": dict(Counter(kind_of(entry.record["reason"]) for entry in judged).most_common()),
                "by_point": [
                    {"point": name, "visible": row[0], "trusted": row[1] / row[0]} for name, row in counts.items()
                ],
            },
        }
    )


def _lines(judged: Sequence[Judged]) -> Iterator[bytes]:
    names = [name for name in SUMMARY if name != "excluded_mm"]
    yield csv_line(["augmented", "original", *names])
    for entry in judged:
        values = [entry.record[name] for name in names]
        shown = ["" if value is None else int(value) if isinstance(value, bool) else value for value in values]
        yield csv_line([entry.pair.augmented, entry.pair.picture.image, *shown])


def _drop_lines(judged: Sequence[Judged]) -> Iterator[bytes]:
    """One line for each picture that is rejected, and for each point of the others that is not trusted."""
    yield csv_line(["augmented", "point", "reason"])
    for entry in judged:
        if not entry.record["accept"]:
            yield csv_line([entry.pair.augmented, "", entry.record["reason"]])
            continue
        for name in (name for name, ok in entry.trusted.items() if not ok):
            yield csv_line([entry.pair.augmented, name, "not certain"])
