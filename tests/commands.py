"""Forks a process that runs the product's commands, before the tests change anything in the product's modules.

A new process would import the product a second time, which takes seconds of processor time. `conftest` imports this
module before the modules that record the product's statements and events.
"""

import atexit
import sys

from tests.warm import Warm, load

WATCHERS = {"tests.sent", "tests.house.watch", "tests.kept_plans"}
"""The modules that change the product when they are imported."""

load()
IS_PLAIN = WATCHERS.isdisjoint(sys.modules)
"""Whether the product is as it was loaded. Where a test begins without `conftest`, it may not be."""
COMMANDS = Warm(forked=IS_PLAIN)
atexit.register(COMMANDS.close)
