"""Owns how a file is staged that COPY cannot read whole: row by row, so that only what is wrong is refused.

Never judges a value.
"""

import codecs
import csv
from collections.abc import Iterator
from typing import Any

from app.sis.port import Delivery, Progress, SourceRefused

BATCH = 5000
MARK = "\ufdd0"  # no character: a file that is interchanged has none


async def copy_row_by_row(driver: Any, delivery: Delivery, name: str, progress: Progress) -> int:
    """The rows one by one: one that does not fit its header keeps its sourcedId, where it has one, and a fault.

    How many there were.
    """
    taken = 0
    width, key = len(delivery.header), delivery.header.index("sourcedId")
    columns = ["row_number", "fault", *(f"c{number}" for number in range(1, width + 1))]
    batch: list[tuple[Any, ...]] = []

    async def lay() -> None:
        nonlocal taken
        await driver.copy_records_to_table(name, schema_name="staging", columns=columns, records=batch)
        taken += len(batch)
        batch.clear()

    for number, cells in _records(delivery):
        if cells is not None and len(cells) == width:
            batch.append((number, None, *(cell or None for cell in cells)))
        elif cells is None or cells:
            known = cells[key] or None if cells and len(cells) > key else None
            blank: list[str | None] = [None] * width
            blank[key] = known
            batch.append((number, "row.malformed" if cells is None else "row.columns", *blank))
        if len(batch) >= BATCH:
            progress(f"reading {delivery.file} row by row", 0, 0)
            await lay()
    await lay()
    return taken


def _records(delivery: Delivery) -> Iterator[tuple[int, list[str] | None]]:
    """Number and cells of each row after the header; None where a row is no CSV."""
    reader = csv.reader(_lines(delivery), strict=True)
    next(reader)
    number = 0
    while True:
        number += 1
        try:
            yield number, [cell.replace(MARK, "\r") for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise SourceRefused(f"{delivery.file} ends inside a quoted value: send it again.") from None
            yield number, None


def _lines(delivery: Delivery) -> Iterator[str]:
    """The lines, ended as the header is. A carriage return inside one is marked: `csv` would end the row there."""
    decoder, rest, end = codecs.getincrementaldecoder("utf-8")(), "", ""
    try:
        for chunk in delivery.read():
            text = rest + decoder.decode(chunk)
            end = end or _line_end(text)
            *whole, rest = text.split(end)
            for line in whole:
                body = line.rstrip("\r")
                yield f"{body.replace(chr(13), MARK)}{line[len(body) :]}{end}"
        rest += decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise SourceRefused(f"{delivery.file} is not UTF-8 throughout: export it as UTF-8.") from None
    if rest:
        yield rest


def _line_end(text: str) -> str:
    """What ends the lines of a file that begins so: a carriage return alone, as on old Macs, or a line feed."""
    carriage, feed = text.find("\r"), text.find("\n")
    alone = carriage >= 0 and (feed < 0 or bool(text[carriage:feed].strip("\r")))
    return "\r" if alone else "\n"
