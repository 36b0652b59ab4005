"""Make divspa.ipynb of the other examples, each run here and shown with what it prints: `make notebook`."""

import contextlib
import io
import json
import tempfile
import textwrap
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
NOTEBOOK = FOLDER / "divspa.ipynb"
# The day is first, as it starts Spark with Delta; what follows joins its session.
SHOWN = ("run_a_day", "search", "losses", "evaluate", "augment_als")
INTRODUCTION = "# divspa by example\n\nThe programs of this folder and what they print, made by `make notebook`."


def sources() -> list[tuple[str, str]]:
    """Kind and text of every cell: of each example its docstring, its program, and the call that runs it."""
    made = [("markdown", INTRODUCTION)]
    for name in SHOWN:
        told, _, code = (FOLDER / f"{name}.py").read_text().removeprefix('"""').partition('"""\n')
        program, _, call = code.partition('if __name__ == "__main__":\n')
        made.append(("markdown", f"## {name}.py\n\n{told}"))
        made += [("code", text.strip()) for text in (program, textwrap.dedent(call))]
    return made


def cell(place: int, kind: str, text: str, names: dict[str, Any]) -> dict[str, Any]:
    """A cell of the notebook; code is run among these names."""
    made = {"cell_type": kind, "id": f"cell-{place}", "metadata": {}, "source": text.splitlines(keepends=True)}
    if kind == "markdown":
        return made
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(text, names)  # noqa: S102 - our own files
    lines = printed.getvalue().splitlines(keepends=True)
    shown = [{"name": "stdout", "output_type": "stream", "text": lines}] if lines else []
    return made | {"execution_count": place, "outputs": shown}


if __name__ == "__main__":
    names: dict[str, Any] = {"__name__": "__main__"}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        cells = [cell(place, *source, names) for place, source in enumerate(sources())]
        names["SparkSession"].active().stop()  # before its files go
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    notebook = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    NOTEBOOK.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
