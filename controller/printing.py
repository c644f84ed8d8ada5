"""Results of the command on standard output: for people, and as values for --json."""

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from acusim.pace import rate_text
from controller.planning import PlannedBatch
from controller.settings import BatchSettings
from controller.summary import Summary

_SHOWN_KINDS = 8
_SHOWN_ITEMS = 20


def print_summary(output: Path, summary: Summary) -> None:
    """Prints how a batch ended."""
    done = summary.created + summary.already
    print(f"{done} of {summary.planned} images are in {output} ({summary.already} from before)")
    if summary.created:
        sets = ", ".join(f"{name} {count}" for name, count in summary.prompt_sets.items())
        print(f"created {summary.created} in {summary.seconds:.1f} s ({rate_text(summary.rate)}): {sets}")
        for address, count in summary.servers.items():
            print(f"  {address}: {count} images")
        for fact, count in summary.facts.items():
            print(f"  {fact}: {count}")
    if summary.doubtful:
        print(f"check {len(summary.doubtful)} images whose mask is doubtful; which, is in manifest.jsonl:")
        _print_kinds([doubt for _, doubts in summary.doubtful for doubt in doubts])
    if summary.unused_depths:
        count = len(summary.unused_depths)
        print(f"created {count} without their depth maps, which cannot be used; see manifest.jsonl:")
        _print_kinds([reason.partition(": ")[2] for _, reason in summary.unused_depths])
    if summary.gate:
        print("gate: " + ", ".join(f"{count} {way}" for way, count in summary.gate.items()))
    if summary.skipped:
        print(f"skipped {len(summary.skipped)}; reasons in {output / 'manifest.jsonl'}:")
        _print_kinds([reason for _, reason in summary.skipped])
    if summary.contact_sheet:
        print(f"before and after: {summary.contact_sheet}")
    if summary.interrupted:
        print("interrupted; run the same command again to resume")


def _print_kinds(reasons: Sequence[str]) -> None:
    """How often each kind of reason, whatever the numbers and names in it."""
    kinds = Counter(
        re.sub(r"'[^']*'|\S+\.(png|jpe?g|json)\b|\b[0-9][0-9.]*\b", "…", reason)[:100] for reason in reasons
    )
    shown = kinds.most_common(_SHOWN_KINDS)
    for kind, count in shown:
        print(f"  {count} x {kind}")
    if others := kinds.total() - sum(count for _, count in shown):
        print(f"  {others} x other reasons")


def plan_report(batch: PlannedBatch) -> dict[str, Any]:
    """What --dry-run --json prints."""
    plan, recipe = batch.plan, batch.settings.recipe
    return {
        "pictures": len(plan.items),
        "prompt_sets": plan.prompt_sets,
        "hair_codes": [dataclasses.asdict(entry) for entry in plan.evidence],
        "scenes": [scene.name for scene in batch.scenes],
        "recipe": recipe.as_dict(),
        "recipe_hash": recipe.hash,
        "skipped": plan.skipped,
        "notes": [*plan.notes, *batch.warnings],
    }


def print_plan(batch: PlannedBatch) -> None:
    """Prints what a batch would create."""
    plan, settings = batch.plan, batch.settings
    sets = ", ".join(f"{name} {count}" for name, count in plan.prompt_sets.items())
    each = f"{'at most ' if settings.budget is not None else ''}{settings.variants} per sample"
    print(f"would create {len(plan.items)} images by engine {settings.recipe.engine}, {each}")
    print(f"prompt sets: {sets}")
    for entry in plan.evidence:
        print(f"hair code {entry}")
    print(f"scenes: {', '.join(scene.name for scene in batch.scenes)}")
    print(f"recipe {settings.recipe.hash[:12]}")
    for text in [*plan.notes, *batch.warnings]:
        print(f"note: {text}")
    for path, reason in plan.skipped:
        print(f"would skip {path}: {reason}")


def print_status(
    counts: dict[str, int], skipped: list[tuple[str, str]], owner: str | None, settings: BatchSettings | None
) -> None:
    """Prints what an OUT holds, and which controller is running on it."""
    print(", ".join(f"{count} {state}" for state, count in counts.items()))
    print(f"running: {owner}" if owner else "no controller is running here")
    if settings:
        print(f"engine {settings.recipe.engine}, dataset {settings.dataset}")
    for key, reason in skipped[:_SHOWN_ITEMS]:
        print(f"skipped: {key}: {reason}")
    if len(skipped) > _SHOWN_ITEMS:
        print(f"and {len(skipped) - _SHOWN_ITEMS} more, see --json")
