"""Defines the colours and the presentation of a chart, once as SVG attributes and once as CSS.

Every element has its presentation in plain attributes, which any renderer understands. The style sheet repeats the
presentation with CSS variables. Through these, the reader's colour scheme, or the page that contains the chart, can
change the colours. The style sheet is in an `@supports` block, so that a renderer without CSS variables ignores it.
"""

from functools import cache
from re import Match
from re import compile as pattern

LIGHT = {
    "ground": "#ffffff",
    "ink": "#1b2430",
    "soft": "#5b6675",
    "rule": "#e3e7ec",
    "break": "#eef1f4",
    "line": "#1b2430",
    "aim": "#1f6feb",
    "fit": "#8a3ffc",
    "good": "#0b7a4b",
    "watch": "#9a5b00",
    "alert": "#b42318",
    "quiet": "#5b6675",
    "on": "#ffffff",
}
DARK = {
    "ground": "#12161c",
    "ink": "#e8edf3",
    "soft": "#a3aebb",
    "rule": "#2a323d",
    "break": "#1d242d",
    "line": "#e8edf3",
    "aim": "#6ea8ff",
    "fit": "#c4a1ff",
    "good": "#4ccb8f",
    "watch": "#f0b24a",
    "alert": "#ff8a7a",
    "quiet": "#a3aebb",
    "on": "#12161c",
}
"""The colours of the dark theme, by name; each name is also the name of a CSS variable."""

TEXT = {
    "fill": "ink",
    "font-size": "12px",
    "font-family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
}
"""The default presentation of texts; the presentation of a text's classes may override it."""
CLASSES: dict[str, dict[str, str]] = {
    "ground": {"fill": "ground"},
    "soft": {"fill": "soft"},
    "s": {"font-size": "11px"},
    "rule": {"stroke": "rule", "stroke-width": "1"},
    "break": {"fill": "break"},
    "aim": {"fill": "none", "stroke": "aim", "stroke-width": "2", "stroke-dasharray": "7 4"},
    "goal": {"fill": "ground", "stroke": "aim", "stroke-width": "2"},
    "goal-in": {"fill": "aim"},
    "aim-ink": {"fill": "aim"},
    "trace": {"fill": "none", "stroke": "line", "stroke-width": "1.2", "opacity": ".55"},
    "over": {"stroke-dasharray": "2 3"},
    "member-aim": {"stroke": "aim", "stroke-width": "1.8", "opacity": "1"},
    "member-fit": {"stroke": "fit", "stroke-width": "1.8", "stroke-dasharray": "7 3", "opacity": "1"},
    "member-good": {"stroke": "good", "stroke-width": "1.8", "stroke-dasharray": "2 3", "opacity": "1"},
    "member-watch": {"stroke": "watch", "stroke-width": "1.8", "stroke-dasharray": "9 3 2 3", "opacity": "1"},
    "score": {"fill": "line"},
    "baseline": {"fill": "ground", "stroke": "line", "stroke-width": "1.6"},
    "phase": {"stroke": "ink", "stroke-width": "1.4"},
    "level": {"stroke": "line", "stroke-width": "2"},
    "fit": {"fill": "none", "stroke": "fit", "stroke-width": "2.6"},
    "band": {"fill": "fit", "opacity": ".17"},
    "change": {"fill": "alert", "opacity": ".13"},
    "change-line": {"stroke": "alert", "stroke-width": "1.4"},
    "missed": {"fill": "none", "stroke": "soft", "stroke-width": "1.3"},
    "given": {"fill": "good"},
    "asked": {"fill": "none", "stroke": "soft", "stroke-width": "1"},
    "unknown": {"stroke-dasharray": "2 2"},
    "lost": {"fill": "alert", "opacity": ".35"},
    "title": {"font-size": "15px", "font-weight": "650"},
    "good": {"fill": "good"},
    "watch": {"fill": "watch"},
    "alert": {"fill": "alert"},
    "quiet": {"fill": "quiet"},
    "mark": {"fill": "none", "stroke": "on", "stroke-width": "1.9", "stroke-linecap": "round"},
}
"""The presentation of each class. If two classes of an element conflict, the class that is later in this list wins.

A value that is the name of a colour stands for that colour.
"""
HALO = ".aimline .halo{paint-order:stroke;stroke:var(--ground);stroke-width:4px;stroke-linejoin:round}"
"""The CSS rule for the halo around a text.

No attributes describe the halo, because a renderer that does not know `paint-order` would draw it over the text.
"""

CLASSED = pattern('<([a-z]+)( [^<>]*?)?( class="([^"]+)")')


def style_sheet(theme: str | None) -> str:
    """Returns the CSS of a theme.

    Without a theme, returns the CSS of both themes, and the reader's colour scheme then selects one of them.
    """
    light, dark = (
        ".aimline{" + ";".join(f"--{name}:{colour}" for name, colour in colours.items()) + "}"
        for colours in (LIGHT, DARK)
    )
    by_preference = f"{light}\n@media (prefers-color-scheme:dark){{{dark}}}"
    variables = {"light": light, "dark": dark}.get(theme or "", by_preference)
    rules = [_rule("text", TEXT), *(_rule(f".{name}", presentation) for name, presentation in CLASSES.items()), HALO]
    body = "\n".join([variables, *rules])
    return f"@supports (fill:var(--ink)) and (paint-order:stroke){{\n{body}\n}}"


def add_attributes(markup: str, theme: str | None) -> str:
    """Returns SVG markup in which the style of each element is also written in attributes, such as `fill`.

    The style is that of the element's CSS classes. Without a theme, the attributes have the light colours.
    """

    def with_attributes(element: Match[str]) -> str:
        tag, before, classes, names = element.groups(default="")
        return f"<{tag}{before}{classes}{_attributes(tag, names, dark=theme == 'dark')}"

    return CLASSED.sub(with_attributes, markup)


def _rule(selector: str, presentation: dict[str, str]) -> str:
    declarations = (f"{name}:{f'var(--{value})' if value in LIGHT else value}" for name, value in presentation.items())
    return f".aimline {selector}{{{';'.join(declarations)}}}"


@cache
def _attributes(tag: str, names: str, *, dark: bool) -> str:
    colours, classes = DARK if dark else LIGHT, set(names.split())
    presentation = dict(TEXT) if tag == "text" else {}
    for name, of_class in CLASSES.items():
        if name in classes:
            presentation |= of_class
    return "".join(f' {name}="{colours.get(value, value)}"' for name, value in presentation.items())
