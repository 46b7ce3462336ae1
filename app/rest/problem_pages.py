"""Builds the pages that explain the problems, one page for each code.

The pages load no other file, and contain no data of a district.
"""

from html import escape

from app.rest.problem_types import PROBLEM_TYPES, ProblemType

STYLE = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:42rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "dt{font-weight:600;margin-top:1rem}dd{margin:0}code{font-size:.95em}"
)
ABOUT = (
    "Aimline answers errors as problem details (RFC 9457). The <code>type</code> of a problem is the address of its "
    "page here, and <code>code</code> is its stable name, in REST and in GraphQL."
)


def page_of(code: str) -> bytes:
    """Returns the page that explains one problem."""
    problem = PROBLEM_TYPES[code]
    facts = (
        ("Code", f"<code>{escape(code)}</code>"),
        ("Status", str(problem.status)),
        ("What to do", _advice(problem)),
    )
    listed = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts)
    return _page(problem.title, f'<dl>{listed}</dl><p><a href=".">All problems</a></p>')


def index_page() -> bytes:
    """Returns the page that lists every problem."""
    rows = "".join(
        f'<li><a href="{escape(code)}"><code>{escape(code)}</code></a> ({problem.status}): {escape(problem.title)}</li>'
        for code, problem in sorted(PROBLEM_TYPES.items())
    )
    return _page("Problems", f"<p>{ABOUT}</p><ul>{rows}</ul>")


def _advice(problem: ProblemType) -> str:
    return escape(problem.advice).replace("`", "")


def _page(title: str, body: str) -> bytes:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)} · Aimline</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>'
        f"<body><h1>{escape(title)}</h1>{body}</body></html>"
    ).encode()
