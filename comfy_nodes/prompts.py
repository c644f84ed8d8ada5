"""AcuSim Prompt Set: positive and negative text for the samples of a batch, from the controller's own prompt sets."""

from pathlib import Path
from typing import Any, ClassVar

from acusim import bald
from acusim.errors import AcuSimError, ConfigError
from acusim.prompt_sets import PromptSets, load_prompt_sets

from . import roots, samples
from .finding import scanned
from .samples import Samples

MAX_SEED = 2**64 - 1


class AcuSimPromptSet:
    """Chooses the prompt set of a batch and fills in its texts."""

    CATEGORY = "AcuSim"
    DESCRIPTION = (
        "Chooses the prompt set of the batch by gender and by whether the head is bald, and gives its texts. All "
        "samples must need the same texts: a mixed batch is refused."
    )
    FUNCTION = "choose"
    RETURN_TYPES = ("STRING", "STRING", "STRING")
    RETURN_NAMES = ("positive", "negative", "name")
    OUTPUT_TOOLTIPS: ClassVar[tuple[str, ...]] = (
        "What the pictures shall show: for the text of a CLIP Text Encode.",
        "What they shall not show: for the text of another CLIP Text Encode.",
        "The prompt set's name: female, male, bald_female, bald_male, or one of your own.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """The widgets."""
        return {
            "required": {
                "samples": (samples.TYPE, {"tooltip": samples.TOOLTIP}),
                "root": (
                    roots.names(),
                    {"tooltip": "The folder of the server that holds your own prompt file; else it does not matter."},
                ),
                "file": (
                    "STRING",
                    {
                        "default": "",
                        "tooltip": "A TOML file of your own below root, in the format of acusim/prompts/default.toml; "
                        "its sets are tried first. Empty: the four shipped sets.",
                    },
                ),
                "bald_codes": (
                    "STRING",
                    {
                        "default": "auto",
                        "tooltip": "Hair codes that mean a bald head, such as HB,HF; none for none; auto tells by the "
                        "data set's labels.",
                    },
                ),
                "seed": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": MAX_SEED,
                        "step": 1,
                        "control_after_generate": False,
                        "tooltip": "Draws the phrasing where a set has several: phrasing number seed modulo their "
                        "number, the same for the whole batch.",
                    },
                ),
            }
        }

    @classmethod
    def VALIDATE_INPUTS(cls, root: Any = None, file: Any = None, bald_codes: Any = None) -> Any:
        """Refuses bad roots, paths and hair codes when a graph is queued; linked inputs are None."""
        if (reason := roots.refusal(root, file)) is not None:
            return reason
        try:
            if bald_codes is not None:
                given_codes(bald_codes)
        except AcuSimError as error:
            return str(error)
        return True

    @classmethod
    def IS_CHANGED(cls, **inputs: Any) -> Any:
        """What decides the texts besides the widgets: the prompt sets' content."""
        try:
            return _prompts(inputs["root"], inputs["file"]).digest
        except (AcuSimError, OSError, TypeError):
            return float("nan")

    def choose(self, samples: Samples, root: str, file: str, bald_codes: str, seed: int) -> tuple[str, str, str]:
        """Positive text, negative text and the set's name.

        Raises:
            ConfigError: the prompt file is wrong, the samples need different texts, or nothing tells who is bald.
        """
        return texts_for(samples, _prompts(root, file), bald_among(samples, bald_codes), seed)


def _prompts(root: str, file: str) -> PromptSets:
    path: Path | None = None
    if file:
        place = roots.find_root(root)
        path = roots.inside(place, file)
        if not path.is_file():
            raise ConfigError(f"prompt file {file!r} is not in root {root!r}")
    return load_prompt_sets(path)


def given_codes(bald_codes: str) -> frozenset[str] | None:
    """The bald_codes widget: None for auto.

    Raises:
        ConfigError: one is no hair code.
    """
    try:
        return bald.parse_bald_codes(bald_codes)
    except ConfigError as error:
        raise ConfigError(str(error).replace("--bald-codes", "bald_codes")) from None


def bald_among(samples: Samples, bald_codes: str) -> frozenset[str]:
    """The hair codes of a batch that mean bald: as the user says, or told by the whole data set's labels.

    Raises:
        ConfigError: a code is not valid, or it is to be told by labels and there are none.
    """
    given = given_codes(bald_codes)
    if given is not None:
        return given
    codes = {sample.id.hair for sample in samples.samples}
    known = [sample for sample in scanned(samples.root, samples.size).dataset.samples if sample.id.hair in codes]
    if unseen := codes - {sample.id.hair for sample in known}:
        raise ConfigError(
            f"bald_codes is auto, but the data set has no label of hair code {', '.join(sorted(unseen))} to tell by; "
            "write the codes that mean bald, or none"
        )
    return frozenset(entry.code for entry in bald.gather(samples.root, known) if entry.bald)


def texts_for(samples: Samples, prompts: PromptSets, bald_codes: frozenset[str], seed: int) -> tuple[str, str, str]:
    """The texts that all samples of a batch share, and their set's name.

    Raises:
        ConfigError: no set matches a sample, or two samples need different texts; names both.
    """
    answers: list[tuple[str, str, str]] = []
    for sample in samples.samples:
        chosen = prompts.choose(sample.id, sample.id.hair in bald_codes)
        answers.append((*prompts.texts(chosen, sample.id, seed), chosen.name))
        if answers[-1] != answers[0]:
            first, second = samples.samples[0].id, sample.id
            same_set = answers[-1][2] == answers[0][2]
            how = (
                f"different texts of prompt set {chosen.name!r}"
                if same_set
                else f"prompt sets {answers[0][2]!r} and {chosen.name!r}"
            )
            raise ConfigError(
                f"mixed batch: {first} and {second} need {how}; load samples that share their texts, for example with "
                "a selection such as gender=F,hair=HA,size=N,eye=O"
            )
    return answers[0]
