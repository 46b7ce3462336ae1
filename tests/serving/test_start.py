"""Tests that a process imports the product's modules while garbage collection is off."""

import gc
from importlib import import_module

import pytest

from app import cli
from app.serving import process, start


def test_garbage_is_collected_again_after_the_block() -> None:
    """Garbage collection is off within `uncollected()`, also if two blocks are nested.

    It is on again after the outer block, even after an error.
    """
    with start.uncollected():
        with start.uncollected():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ValueError, match="planted"), start.uncollected():
        raise ValueError("planted")
    assert gc.isenabled()


def test_commands_are_imported_without_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The modules of a command are imported while garbage collection is off.

    These modules import most of the product.
    """
    collecting: list[bool] = []

    def watched(name: str) -> object:
        collecting.append(gc.isenabled())
        return import_module(name)

    monkeypatch.setattr("app.cli.import_module", watched)
    cli.command_line("key")
    assert collecting == [False]


def test_a_server_process_is_created_without_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of the api imports and builds the app without garbage collection."""
    collecting: list[bool] = []
    monkeypatch.setattr(process, "create", lambda: collecting.append(gc.isenabled()))
    start.create()
    assert collecting == [False]
    assert gc.isenabled()
