"""How the text of a file is encoded, by the mark that its first bytes are."""

import codecs

MARKS = (
    # The longest first: that of UTF-16 begins that of UTF-32.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
MARK_BYTES = 4


def encoding_of(head: bytes) -> str:
    """Python's name for it: UTF-16 or -32 where a mark says so, else UTF-8 with or without one.

    Spreadsheets save "Unicode text" as UTF-16.
    """
    return next((name for mark, name in MARKS if head.startswith(mark)), "utf-8-sig")
