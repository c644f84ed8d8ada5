"""PNG files without what no pixel depends on: Pillow refuses a whole picture for one large profile or text.

Pillow unpacks colour profiles and texts as it opens a file, each up to 1 MiB, all up to 64 MiB. Those limits hold for a
whole process and guard its memory, so they stay; the chunks are taken out before Pillow sees the file.
"""

from acusim import provenance

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_OURS = provenance.KEY.encode() + b"\0"


def without_metadata(data: bytes) -> bytes:
    """The same picture without colour profile and without texts, but for this project's own record.

    Orientation (eXIf), transparency and frames stay. What is no PNG, or is cut off, comes back as it is.
    """
    if not data.startswith(SIGNATURE):
        return data
    view = memoryview(data)
    kept: list[bytes | memoryview] = [SIGNATURE]
    start, position = len(SIGNATURE), len(SIGNATURE)  # of the run of chunks that stay; of the chunk looked at
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
