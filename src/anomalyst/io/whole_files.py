"""Whether a picture's file is whole, by how its kind ends: before half a second of quiet tells."""

from pathlib import Path

PNG_BEGIN = b"\x89PNG\r\n\x1a\n"
PNG_END = b"IEND\xaeB`\x82"
JPEG_END = b"\xff\xd9"


def ends_whole(path: Path) -> bool:
    """Whether it ends as a PNG or JPEG ends, or is as long as a BMP or WebP says.

    False for other kinds and what cannot be read: time must tell there.
    """
    try:
        with path.open("rb") as file:
            head = file.read(12)
            length = file.seek(0, 2)
            file.seek(max(0, length - 8))
            tail = file.read(8)
    except OSError:
        return False
    if head.startswith(PNG_BEGIN):
        return tail == PNG_END
    if head.startswith(b"\xff\xd8\xff"):
        return tail.endswith(JPEG_END)
    if head.startswith(b"BM"):
        return length > 14 and int.from_bytes(head[2:6], "little") == length
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return int.from_bytes(head[4:8], "little") + 8 == length
    return False
