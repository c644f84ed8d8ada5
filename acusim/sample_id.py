"""Sample IDs: the grammar of AcuSim's file names.

``gender_name_size_hair[_eye]_frame``, for example ``F_Brisen_F_HA_C_0141`` or ``M_Asher_N_HD_0001``.
Older stems have no eye state. Which hair code means *bald* is not public, so it is not decided here.
"""

import re
import unicodedata
from dataclasses import dataclass

from acusim.errors import SampleIdError

GENDERS = ("F", "M")
SIZES = {"F": "fat", "N": "normal", "S": "slim"}
EYES = {"O": "open", "C": "closed"}
KNOWN_HAIR_CODES = ("HA", "HC", "HD", "HE")
"""Hair codes seen in public AcuSim files. Others are accepted and listed."""
FRAME_COUNT = 144

_GRAMMAR = "gender_name_size_hair[_eye]_frame, such as F_Brisen_F_HA_C_0141"
_HAIR = re.compile(r"[A-Za-z0-9]+")
_FRAME = re.compile(r"[0-9]{4}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f/\\]")


@dataclass(frozen=True, order=True, slots=True)
class SampleId:
    """One image of one model: ``str(SampleId.parse(stem)) == stem``."""

    gender: str
    """F or M."""
    name: str
    """The model's name; may hold any letters, spaces and underscores."""
    size: str
    """Body size: F fat, N normal, S slim."""
    hair: str
    """Hairstyle code."""
    eye: str | None
    """O open, C closed, None where the stem has no eye state."""
    frame: int
    """Camera 1..144."""

    @classmethod
    def parse(cls, stem: str) -> "SampleId":
        """Reads a file name without its extension.

        Raises:
            SampleIdError: names the part that is wrong and what is allowed there.
        """
        tokens = stem.split("_")
        if len(tokens) < 5:
            raise SampleIdError(f"sample ID {stem!r} has {len(tokens)} parts; the grammar is {_GRAMMAR}")
        gender, frame = tokens[0], tokens[-1]
        if gender not in GENDERS:
            raise SampleIdError(f"sample ID {stem!r}: gender {gender!r} is not one of {', '.join(GENDERS)}")
        if not _FRAME.fullmatch(frame) or not 1 <= int(frame) <= FRAME_COUNT:
            raise SampleIdError(f"sample ID {stem!r}: frame {frame!r} is not one of 0001..{FRAME_COUNT:04d}")
        # A hair code may look like an eye state; the body size before it distinguishes the two readings.
        reads_as_eye = len(tokens) >= 6 and tokens[-2] in EYES
        has_eye = reads_as_eye and (tokens[-4] in SIZES or tokens[-3] not in SIZES)
        eye = tokens[-2] if has_eye else None
        name_parts, size, hair = (tokens[1:-4], *tokens[-4:-2]) if has_eye else (tokens[1:-3], *tokens[-3:-1])
        if size not in SIZES:
            allowed = ", ".join(f"{code} ({word})" for code, word in SIZES.items())
            raise SampleIdError(
                f"sample ID {stem!r}: body size {size!r} is not one of {allowed}; the grammar is {_GRAMMAR}"
            )
        if not _HAIR.fullmatch(hair):
            raise SampleIdError(f"sample ID {stem!r}: hair code {hair!r} does not consist of letters and digits")
        name = "_".join(name_parts)
        if not name.strip("_ ") or _CONTROL.search(name):
            raise SampleIdError(f"sample ID {stem!r}: the model's name {name!r} is empty or not printable")
        return cls(gender, name, size, hair, eye, int(frame))

    @property
    def identity(self) -> str:
        """The model without eye state and camera: ``M_Asher_N_HD``."""
        return f"{self.gender}_{self.name}_{self.size}_{self.hair}"

    @property
    def person(self) -> str:
        """Key of the person: the model's name without regard to case and Unicode form; a person may have several hair
        styles and body sizes."""
        return unicodedata.normalize("NFC", unicodedata.normalize("NFC", self.name).casefold())

    def __str__(self) -> str:
        eye = f"_{self.eye}" if self.eye else ""
        return f"{self.identity}{eye}_{self.frame:04d}"


@dataclass(frozen=True, order=True, slots=True)
class PictureId:
    """One picture of another data set than AcuSim."""

    path: str
    """Of the image below the root, with forward slashes."""

    def __str__(self) -> str:
        return self.path
