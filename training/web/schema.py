"""Answers of the HTTP interface, as documented at /api/openapi.json."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from training.inference.face_crop import REASONS as REASONS_OF_CROP
from training.inference.face_crop import Reason
from training.inference.model import Evidence
from training.inference.point_names import Side
from training.settings import TaskName
from training.web.refusals import REASONS


class PointName(BaseModel):
    """Names of a point."""

    name: str = Field(description="as label files spell it")
    code: str = Field(description="short, as in drawn pictures; spelt as in label files")
    standard_code: str = Field(description="the code with known misspellings corrected, without a side")
    meridian: str
    zh: str = Field(description="Chinese name, known misspellings corrected; may be empty")
    pinyin: str = Field(description="the same in Latin letters; may be empty")
    side: Side = Field(description="the subject's side; empty where it is unknown")
    location: str = Field(default="", description="where it lies on the body, in words; may be empty")
    use: str = Field(default="", description="classical use, from a book of 1601: history, no advice; may be empty")


class FoundPoint(PointName):
    """A point in the picture."""

    visible: bool = Field(description="whether its confidence reaches the threshold, or is not known")
    confidence: float | None = Field(ge=0, le=1, description="see the model's evidence")
    x: float = Field(
        description="pixels from the upright picture's left edge; meaningless for a point that is not visible"
    )
    y: float = Field(description="pixels from its top edge")
    mm: tuple[float, float, float] | None = Field(
        description="in millimetres in the head's frame: +x the person's left, -y the direction of the face, +z up; "
        "null where no head was fitted"
    )


class Model(BaseModel):
    """A model that is loaded."""

    kind: TaskName
    evidence: Evidence = Field(
        description="what a point's confidence is: the probability that it is visible; the height of its heatmap's "
        "peak; or none, then it is null"
    )
    threshold: float = Field(description="used where a request has none")
    made_by: dict[str, Any] = Field(description="the run or file, and the hash of its weights")


class ModelWithPoints(Model):
    """A model that is loaded, and what it finds."""

    points: list[PointName]


class Models(BaseModel):
    """All that a page needs to know."""

    models: list[ModelWithPoints]
    auto: Literal["only", "detected"] = Field(
        description="what kind=auto does: takes the only model, or looks for a face and a hand"
    )
    max_bytes: int = Field(description="largest file")
    max_pixels: int = Field(description="largest picture")
    colours: dict[str, str] = Field(description="of the meridians, #rrggbb")


class PictureFacts(BaseModel):
    """The picture that was sent."""

    name: str
    width: int = Field(description="pixels, upright")
    height: int
    sha256: str = Field(description="of the file")
    notes: list[str] = Field(description="conversions that were needed")


class Timing(BaseModel):
    """Where the time went, in milliseconds."""

    decode: float
    model: float
    waited: float = Field(description="waiting for other pictures")


class Trait(BaseModel):
    """One trait of the hand."""

    value: Literal["left", "right", "back", "palm"]
    probability: float = Field(ge=0.5, le=1)


class HandType(BaseModel):
    """Which hand it is, according to the model."""

    side: Trait
    face: Trait


class Crop(BaseModel):
    """The square of the picture that the model saw; it may reach beyond the picture."""

    what: Literal["face", "whole picture"]
    reason: Reason = Field(description="why: " + "; ".join(f"{code}, {text}" for code, text in REASONS_OF_CROP.items()))
    faces: int = Field(description="how many were found")
    left: int = Field(description="pixels of the upright picture")
    top: int
    side: int


class Pose(BaseModel):
    """How the head is turned, in degrees; 0, 0, 0 faces the camera."""

    yaw: float = Field(description="above 0: to the person's own left")
    pitch: float = Field(description="above 0: up")
    roll: float = Field(description="above 0: clockwise, as seen in the picture")


class Fit(BaseModel):
    """How well a head fits the points."""

    residual_mm: float = Field(description="median distance of the visible points to their predictions")
    ok: bool = Field(description="whether pose, millimetres and hidden points can be trusted")


class Answer(BaseModel):
    """The points of a picture."""

    kind: TaskName
    chosen: Literal["asked", "only", "detected"] = Field(description="how the kind was chosen")
    picture: PictureFacts
    model: Model
    threshold: float
    crop: Crop | None = Field(description="null for models that always see the whole picture")
    hand: HandType | None = Field(description="null for models without that output")
    pose: Pose | None = Field(description="null where no head was fitted")
    fit: Fit | None = Field(description="likewise")
    points: list[FoundPoint]
    timing_ms: Timing


class Failure(BaseModel):
    """Why a request was refused."""

    code: str = Field(json_schema_extra={"enum": list(REASONS)})
    message: str
    message_zh: str


class Failed(BaseModel):
    """The answer to a request that was refused."""

    error: Failure


REQUEST_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {"type": "string", "format": "binary", "description": "a PNG or JPEG"},
                    "kind": {"type": "string", "enum": ["auto", "head", "hand"], "default": "auto"},
                    "threshold": {"type": "number", "minimum": 0, "maximum": 1},
                    "quick": {
                        "type": "boolean",
                        "default": False,
                        "description": "one look, without mirrored picture and second pass: for moving pictures",
                    },
                    "names": {"type": "boolean", "default": True, "description": "codes in the drawn picture"},
                    "hidden": {
                        "type": "boolean",
                        "default": False,
                        "description": "hidden points as rings in the drawn picture, where fit.ok",
                    },
                },
            }
        }
    },
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Failed, "description": ", ".join(c for c, reason in REASONS.items() if reason.status == status)}
    for status in (400, 403, 408, 413, 415, 422, 500, 503)
}
