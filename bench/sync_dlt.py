"""Loads the files of a sync benchmark with the library dlt, for comparison with Aimline.

The rows are merged into PostgreSQL (dlt's write disposition `merge`), with dlt's default settings. The files are loaded
twice, and a line of JSON is printed for each time.

The script needs a Python that has `dlt[postgres]`, which is no dependency of the product: `PYTHON bench/sync_dlt.py
FOLDER URL`. `bench.sync --dlt PYTHON` runs it.
"""

import csv
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt  # type: ignore[import-not-found]  # installed in another environment

RUNS = 2


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    with file.open(encoding="utf-8", newline="") as text:
        for row in csv.DictReader(text):
            yield {name: value or None for name, value in row.items()}


def main(folder: Path, url: str) -> None:
    """Loads every CSV file of the folder, except the manifest, into a table of its own with sourcedId as its key."""
    files = sorted(file for file in folder.glob("*.csv") if file.name != "manifest.csv")
    with tempfile.TemporaryDirectory() as home:
        pipeline = dlt.pipeline(
            "bench", destination=dlt.destinations.postgres(url), dataset_name="bench_dlt", pipelines_dir=home
        )
        for _ in range(RUNS):
            began = time.perf_counter()
            pipeline.run(
                [
                    dlt.resource(_rows(file), name=file.stem, write_disposition="merge", primary_key="sourcedId")
                    for file in files
                ]
            ).raise_on_failed_jobs()
            print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
