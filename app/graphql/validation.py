"""Validates a document by the rules of the specification, so that a document with many errors takes little time."""

import re
from bisect import bisect_left
from functools import cached_property

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    NoUndefinedVariablesRule,
    NoUnusedVariablesRule,
    Source,
    SourceLocation,
    VariablesInAllowedPositionRule,
    specified_rules,
    validate,
)

VARIABLE_RULES = (NoUndefinedVariablesRule, NoUnusedVariablesRule, VariablesInAllowedPositionRule)
"""The rules that walk through a whole operation at its beginning, before any other rule has found an error."""
OTHER_RULES = tuple(rule for rule in specified_rules if rule not in VARIABLE_RULES)


class IndexedSource(Source):
    """The text of a GraphQL document, which finds the lines of errors quickly.

    It searches the text for line ends only once. The library's own class searches the text again for each error.
    """

    @cached_property
    def _line_ends(self) -> list[tuple[int, int]]:
        return [(end.start(), end.end()) for end in re.finditer(r"\r\n|[\n\r]", self.body)]

    def get_location(self, position: int) -> SourceLocation:
        """Returns the line and the column of a position, both from 1."""
        lines_before = bisect_left(self._line_ends, position, key=lambda end: end[0])
        line_start = self._line_ends[lines_before - 1][1] if lines_before else 0
        return SourceLocation(lines_before + 1, position + 1 - line_start)


def violations(
    schema: GraphQLSchema, document: DocumentNode, max_errors: int, hide_suggestions: bool = False
) -> list[GraphQLError]:
    """Returns the errors of a document, at most `max_errors`. If there are more, an additional last error states this.

    The rules about variables run last. They run only if the other rules have found no more than `max_errors` errors,
    and only if the document contains a `$`.
    """
    errors = validate(schema, document, OTHER_RULES, max_errors, hide_suggestions)
    if len(errors) > max_errors or document.loc is None or "$" not in document.loc.source.body:
        return errors
    return errors + validate(schema, document, VARIABLE_RULES, max_errors - len(errors), hide_suggestions)
