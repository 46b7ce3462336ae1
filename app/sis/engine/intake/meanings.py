"""SQL conditions for what a source means by certain texts: no value, no end, a grade in words. Converts nothing."""

from app.sis.kinds import OPEN_YEARS

_NO_GRADE = r"^([-+0-9.,'' ]*|[-+0-9.,]+e[-+0-9]+|[#=].*|nan|inf|infinity|undefined|.{41,})$"


def no_null_sql(x: str) -> str:
    """Returns SQL that treats the texts NULL and \\N as an empty value. Some databases export these texts."""
    return f"CASE WHEN {x} NOT IN ('NULL', 'null', '\\N') THEN {x} END"


def is_grade_sql(x: str) -> str:
    """Returns an SQL condition for the text of a score that is a grade in words, such as `B+`, `85%` or `Pass`.

    A number in another notation, such as `1,5`, is none, and neither is the error of a spreadsheet, such as `#REF!`.
    """
    return f"coalesce(btrim({no_null_sql(x)}) !~* '{_NO_GRADE}', false)"


def is_open_sql(x: str) -> str:
    """Returns an SQL condition for a date or an instant, as text, by which a source says that there is no end."""
    years = ", ".join(f"'{year}'" for year in OPEN_YEARS)
    is_day = f"(length(btrim({x})) = 10 OR substr(btrim({x}), 11, 1) IN ('T', ' '))"
    return f"(left(btrim({x}), 4) IN ({years}) AND btrim({x}) LIKE '____-__-__%' AND {is_day})"
