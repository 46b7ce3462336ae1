"""Owns how many pairs of fields the validation would have to compare, so that it is refused before it is quadratic.

GraphQL merges the fields of one response key, and the library compares each of them with each other one. This walk
merges them too, but only counts. It expands fragments, so what it is given has passed the limit of its size.
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


def comparisons(document: DocumentNode, most: int) -> int:
    """The pairs of fields with one response key, anywhere in the document; it stops counting above `most`."""
    fragments = {one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)}
    merged: list[list[SelectionSetNode]] = [
        [one.selection_set]
        for one in document.definitions
        if isinstance(one, OperationDefinitionNode | FragmentDefinitionNode)
    ]
    pairs = 0
    while merged and pairs <= most:
        for fields in _by_key(merged.pop(), fragments).values():
            pairs += len(fields) * (len(fields) - 1) // 2
            inner = [one.selection_set for one in fields if one.selection_set is not None]
            if inner:
                merged.append(inner)
    return pairs


def _by_key(
    selections: Iterable[SelectionSetNode], fragments: dict[str, FragmentDefinitionNode]
) -> dict[str, list[FieldNode]]:
    """The fields of selection sets that become one object, by their response keys; each fragment is visited once."""
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
