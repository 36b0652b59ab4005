"""Print, as JSON, the version and the days of Delta tables: run by the main environment, which can read them.

usage: describe_lake.py LAKE TABLE...  ->  {table: {"version": n, "days": {ds: {"rows": n, "digest": text}}}}
"""

import hashlib
import json
import sys

import polars as pl
from deltalake import DeltaTable

# These name the versions of the tables that a row was made from, which rise whenever a table is written again.
VERSIONS = ("model_version", "settings_hash", "source_versions")


def describe(path: str) -> dict[str, object]:
    days = {}
    for (ds,), day in sorted(pl.read_delta(path).drop(VERSIONS, strict=False).group_by("ds")):
        # As a set of rows: the order within a day means nothing.
        lines = sorted(repr(row) for row in day.rows())
        days[str(ds)] = {"rows": len(lines), "digest": hashlib.sha256("\n".join(lines).encode()).hexdigest()}
    return {"version": DeltaTable(path).version(), "days": days}


if __name__ == "__main__":
    lake, *names = sys.argv[1:]
    print(json.dumps({name: describe(f"{lake}/{name}") for name in names}))
