"""Counts the pairs of fields that validation would compare, so that a document with too many pairs is refused.

Validation compares each field with every other field that has the same name in the response. So its time grows with the
square of the number of fields. This module groups the fields in the same way, but only counts the pairs. It expands
fragments, so the size of a document must be checked before the pairs are counted.
"""

from collections.abc import Iterable

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
)


def comparisons(document: DocumentNode, limit: int) -> int:
    """Returns the number of pairs of fields in the document that have the same name in the response.

    The count stops once it is above `limit`.
    """
    fragments = {
        definition.name.value: definition
        for definition in document.definitions
        if isinstance(definition, FragmentDefinitionNode)
    }
    merged: list[list[SelectionSetNode]] = [
        [definition.selection_set]
        for definition in document.definitions
        if isinstance(definition, OperationDefinitionNode | FragmentDefinitionNode)
    ]
    pairs = 0
    while merged and pairs <= limit:
        for fields in _by_key(merged.pop(), fragments).values():
            pairs += len(fields) * (len(fields) - 1) // 2
            inner = [field.selection_set for field in fields if field.selection_set is not None]
            if inner:
                merged.append(inner)
    return pairs


def _by_key(
    selections: Iterable[SelectionSetNode], fragments: dict[str, FragmentDefinitionNode]
) -> dict[str, list[FieldNode]]:
    """Returns the fields of several selection sets on the same object, keyed by their names in the response.

    A fragment that several sets use is counted once.
    """
    fields: dict[str, list[FieldNode]] = {}
    stack, visited = list(selections), set[str]()
    while stack:
        for node in stack.pop().selections:
            if isinstance(node, FieldNode):
                fields.setdefault((node.alias or node.name).value, []).append(node)
            elif isinstance(node, InlineFragmentNode):
                stack.append(node.selection_set)
            elif isinstance(node, FragmentSpreadNode) and node.name.value not in visited:
                visited.add(node.name.value)
                fragment = fragments.get(node.name.value)
                if fragment is not None:
                    stack.append(fragment.selection_set)
    return fields
