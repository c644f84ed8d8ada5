"""PNG files without metadata that no pixel depends on: Pillow refuses a whole image for one large profile or text.

Pillow unpacks colour profiles and texts as it opens a file, each up to 1 MiB, all up to 64 MiB. Those limits hold for a
whole process and guard its memory, so they stay; the chunks are removed before Pillow sees the file.
"""

from acusim import provenance

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_OURS = provenance.KEY.encode() + b"\0"


def without_metadata(data: bytes) -> bytes:
    """The same image without colour profile and texts, except for this project's own record.

    Orientation (eXIf), transparency and frames stay. Data that are not a PNG, or are cut off, are returned unchanged.
    """
    if not data.startswith(_SIGNATURE):
        return data
    view = memoryview(data)
    kept: list[bytes | memoryview] = [_SIGNATURE]
    start, position = len(_SIGNATURE), len(_SIGNATURE)  # of the run of kept chunks; of the current chunk
    while position + 12 <= len(data):
        length = int.from_bytes(view[position : position + 4])
        end = position + 12 + length
        if end > len(data):
            break
        if _drops(data, position, length):
            kept.append(view[start:position])
            start = end
        position = end
    if len(kept) == 1:
        return data
    return b"".join([*kept, view[start:]])


def _drops(data: bytes, position: int, length: int) -> bool:
    kind = data[position + 4 : position + 8]
    if kind in _TEXTS:
        ours = data.startswith(_OURS, position + 8) and length <= 2 * provenance.MAX_BYTES
        return not ours
    return kind == b"iCCP"
