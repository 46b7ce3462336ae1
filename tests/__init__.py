"""The tests, which run on a real PostgreSQL, as role `api`."""

import gc
import sys

if "pytest" in sys.modules:
    gc.disable()  # while everything is imported, of which nothing is dropped; `conftest` enables it again
