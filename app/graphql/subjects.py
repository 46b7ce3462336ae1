"""Collects the ids of the rows that the commands of a mutation could refer to."""

from typing import Any

from graphql import FieldNode, Node, StringValueNode

from app.graphql.prepare import Prepared


def named_subjects(
    prepared: Prepared, variables: dict[str, Any] | None, *, is_second_attempt: bool = False
) -> frozenset[str]:
    """Returns all texts in a mutation and in its variables, because each of them could be the id of a row.

    Each command locks the student that it is about. Two operations that lock two students in opposite orders would wait
    for each other. Therefore all students of an operation are locked at once, in the order of their ids.

    The result is empty for an operation that is not a mutation. It is also empty for a mutation with a single field,
    which takes its locks itself. If an earlier attempt could not lock all students in time (`is_second_attempt`), the
    texts of a mutation with a single field are returned too.
    """
    selections = prepared.operation.selection_set.selections
    is_single = len(selections) == 1 and isinstance(selections[0], FieldNode)
    if not prepared.writes or (is_single and not is_second_attempt):
        return frozenset()
    return frozenset(_texts_of(variables) | _literals_of(prepared.document))


def _texts_of(variables: dict[str, Any] | None) -> set[str]:
    texts: set[str] = set()
    level: list[Any] = [variables or {}]
    while level:
        value = level.pop()
        if isinstance(value, str):
            texts.add(value)
        elif isinstance(value, dict):
            level += value.values()
        elif isinstance(value, list):
            level += value
    return texts


def _literals_of(document: Node) -> set[str]:
    texts: set[str] = set()
    level: list[Node] = [document]
    while level:
        node = level.pop()
        if isinstance(node, StringValueNode):
            texts.add(node.value)
        for key in node.keys:
            child = getattr(node, key, None)
            if isinstance(child, Node):
                level.append(child)
            elif isinstance(child, list | tuple):
                level += [item for item in child if isinstance(item, Node)]
    return texts
