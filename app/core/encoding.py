"""Recognizes the encoding of text that is not UTF-8. Never decodes it."""

import re

SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
NOT_IN_1252 = frozenset((0x81, 0x8D, 0x8F, 0x90, 0x9D))


def guess_encoding(raw: bytes) -> str:
    """Returns the probable encoding of bytes that are not UTF-8."""
    if raw[:4] in (b"\xff\xfe\0\0", b"\0\0\xfe\xff"):
        return "UTF-32"
    if SURROGATE.match(raw):
        return "CESU-8, which Oracle calls UTF8"
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff") or raw.count(b"\0") > len(raw) // 4:
        return "UTF-16"
    high = {byte for byte in raw if byte >= 0x80}
    if not high & NOT_IN_1252:
        return "Windows-1252 (also called ANSI)" if high & set(range(0x80, 0xA0)) else "Windows-1252 or ISO-8859-1"
    return "an old code page, such as Mac Roman or DOS"
