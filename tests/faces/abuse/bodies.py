"""Builds request bodies of at most 2 MB that are expensive to parse, to validate or to refuse."""

from collections.abc import Callable

MB = 1 << 20
SCORE = b'{"student":1,"measure":1,"taken_on":1,"value":"","attempt":"","purpose":1,"form":1}'

KEYS = b",".join(b'"x%d":1' % number for number in range(18))
LONG_KEYS = b",".join(b'"%d%b":1' % (number, b"x" * 20_000) for number in range(90))
FOUR_LONG_KEYS = b",".join(b'"%d%b":1' % (number, b"x" * 900) for number in range(4))


def repeated(head: bytes, part: bytes, tail: bytes, size: int = 2 * MB - 64) -> bytes:
    """Returns `head`, then `part` repeated with commas between, then `tail`. The result has at most `size` bytes."""
    times = (size - len(head) - len(tail)) // (len(part) + 1)
    return head + b",".join([part] * times) + tail


def _distinct_keys() -> bytes:
    return b"{" + b",".join(b'"k%d":1' % number for number in range(150_000)) + b"}"


BODIES: dict[str, Callable[[], bytes]] = {
    "a list of invalid items": lambda: repeated(b'{"concerns":[', b"1", b"]}"),
    "a list of empty lists": lambda: repeated(b'{"concerns":[', b"[]", b"]}"),
    "a list of empty objects": lambda: repeated(b'{"map":[', b"{}", b"]}"),
    "unknown keys": _distinct_keys,
    "one key, repeated": lambda: repeated(b"{", b'"a":1', b"}"),
    "deep nesting": lambda: b"[" * MB + b"]" * MB,
    "deep objects": lambda: b'{"a":' * (MB // 4),
    "unclosed lists": lambda: b"[" * (2 * MB - 64),
    "invalid scores": lambda: repeated(b'{"scores":[', SCORE, b"]}"),
    "scores with unknown keys": lambda: b'{"scores":[' + b",".join([b"{%b}" % KEYS] * 500) + b"]}",
    "unknown long keys": lambda: b"{" + LONG_KEYS + b"}",
    "a score with unknown long keys": lambda: b'{"scores":[{' + LONG_KEYS + b"}]}",
    "scores with unknown long keys": lambda: b'{"scores":[' + b",".join([b"{%b}" % FOUR_LONG_KEYS] * 500) + b"]}",
    "the most scores, all invalid": lambda: b'{"scores":[' + b",".join([SCORE] * 500) + b"]}",
    "the most pairs, all empty": lambda: b'{"map":[' + b",".join([b"{}"] * 10_000) + b"]}",
    "the most pairs, with unknown keys": lambda: b'{"map":[' + b",".join([b'{"a":1,"b":2}'] * 10_000) + b"]}",
    "one pair more": lambda: b'{"map":[' + b",".join([b"{}"] * 10_001) + b"]}",
    "one long text": lambda: b'{"description":"' + b"x" * (2 * MB - 64) + b'"}',
    "a text of escapes": lambda: b'{"description":"' + rb"\"" * (MB - 64) + b'"}',
    "a text that never ends": lambda: b'{"description":"' + b"\\\\" * (MB - 64),
    "many short texts": lambda: repeated(b"[", b'""', b"]"),
    "a number of many digits": lambda: b'{"value":' + b"9" * (2 * MB - 64) + b"}",
    "only commas": lambda: b"," * (2 * MB - 64),
    "another encoding": lambda: ("[" + "[]," * 300_000 + "1]").encode("utf-16"),
}
"""The bodies of the corpus, keyed by a description."""
