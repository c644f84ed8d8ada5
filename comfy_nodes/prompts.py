"""AcuSim Prompt Set: positive and negative text for the samples of a batch, from the controller's own prompt sets."""

from pathlib import Path
from typing import Any, ClassVar

from acusim import bald
from acusim.errors import AcuSimError, ConfigError
from acusim.prompt_sets import PromptSets, load_prompt_sets

from . import roots, samples
from .finding import scanned
from .samples import Samples
from .widgets import choice, fixed_integer, link, text


class AcuSimPromptSet:
    """Chooses the prompt set of a batch and fills in its texts."""

    CATEGORY = "AcuSim"
    DESCRIPTION = (
        "Chooses the prompt set of the batch by gender and baldness and returns its texts. All samples must need the "
        "same texts: a mixed batch is refused."
    )
    FUNCTION = "choose"
    RETURN_TYPES = ("STRING", "STRING", "STRING")
    RETURN_NAMES = ("positive", "negative", "name")
    OUTPUT_TOOLTIPS: ClassVar[tuple[str, ...]] = (
        "What the images should show: for the text of a CLIP Text Encode.",
        "What they should not show: for the text of another CLIP Text Encode.",
        "The prompt set's name: female, male, bald_female, bald_male, or one of your own.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """The widgets."""
        return {
            "required": {
                "samples": link(samples.TYPE, samples.TOOLTIP),
                "root": choice("Folder of the server that contains your own prompt file, if any.", roots.names()),
                "file": text(
                    "Your own TOML file below root, in the format of acusim/prompts/default.toml; its sets are tried "
                    "first. Empty: the four shipped sets."
                ),
                "bald_codes": text(
                    "Hair codes that mean a bald head, such as HB,HF; none: no code; auto: inferred from the dataset's "
                    "labels.",
                    default="auto",
                ),
                "seed": fixed_integer(
                    "Selects the phrasing where a set has several: number seed modulo their count, the same for the "
                    "whole batch."
                ),
            }
        }

    @classmethod
    def VALIDATE_INPUTS(cls, root: Any = None, file: Any = None, bald_codes: Any = None) -> Any:
        """Refuses invalid roots, paths and hair codes when a graph is queued; linked inputs are None."""
        if (reason := roots.refusal(root, file)) is not None:
            return reason
        try:
            if bald_codes is not None:
                _given_codes(bald_codes)
        except AcuSimError as error:
            return str(error)
        return True

    @classmethod
    def IS_CHANGED(cls, **inputs: Any) -> Any:
        """A digest of what determines the texts besides the widgets: the prompt sets' content."""
        try:
            return _prompts(inputs["root"], inputs["file"]).digest
        except (AcuSimError, OSError, TypeError):
            return float("nan")

    def choose(self, samples: Samples, root: str, file: str, bald_codes: str, seed: int) -> tuple[str, str, str]:
        """Positive text, negative text and the set's name.

        Raises:
            ConfigError: the prompt file is invalid, the samples need different texts, or baldness is unknown.
        """
        return _texts_for(samples, _prompts(root, file), _bald_among(samples, bald_codes), seed)


def _prompts(root: str, file: str) -> PromptSets:
    path: Path | None = None
    if file:
        place = roots.find_root(root)
        path = roots.inside(place, file)
        if not path.is_file():
            raise ConfigError(f"prompt file {file!r} is not in root {root!r}")
    return load_prompt_sets(path)


def _given_codes(bald_codes: str) -> frozenset[str] | None:
    """The bald_codes widget: None for auto."""
    try:
        return bald.parse_bald_codes(bald_codes)
    except ConfigError as error:
        raise ConfigError(str(error).replace("--bald-codes", "bald_codes")) from None


def _bald_among(samples: Samples, bald_codes: str) -> frozenset[str]:
    """The hair codes of a batch that mean bald: set by the user, or inferred from the whole dataset's labels."""
    given = _given_codes(bald_codes)
    if given is not None:
        return given
    codes = {sample.id.hair for sample in samples.samples}
    known = [sample for sample in scanned(samples.root, samples.size).dataset.samples if sample.id.hair in codes]
    if unseen := codes - {sample.id.hair for sample in known}:
        raise ConfigError(
            f"bald_codes is auto, but the dataset has no label of hair code {', '.join(sorted(unseen))} to infer "
            "it from; write the codes that mean bald, or none"
        )
    return frozenset(entry.code for entry in bald.gather_evidence(samples.root, known) if entry.bald)


def _texts_for(samples: Samples, prompts: PromptSets, bald_codes: frozenset[str], seed: int) -> tuple[str, str, str]:
    """The texts that all samples of a batch share, and their set's name."""
    texts: list[tuple[str, str, str]] = []
    for sample in samples.samples:
        chosen = prompts.choose(sample.id, sample.id.hair in bald_codes)
        texts.append((*prompts.texts(chosen, sample.id, seed), chosen.name))
        if texts[-1] != texts[0]:
            first, second = samples.samples[0].id, sample.id
            same_set = texts[-1][2] == texts[0][2]
            names = f"prompt sets {texts[0][2]!r} and {chosen.name!r}"
            needed = f"different texts of prompt set {chosen.name!r}" if same_set else names
            raise ConfigError(
                f"mixed batch: {first} and {second} need {needed}; load samples with the same texts, for "
                "example by the selection gender=F,hair=HA,size=N,eye=O"
            )
    return texts[0]
