"""The pages say what the code does: every error has its entry, and every link of the README and the pages leads somewhere."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from divspa.errors import DivSPAError

ROOT = Path(__file__).parents[2]
KINDS = {"cls", DivSPAError.__name__, *(kind.__name__ for kind in DivSPAError.__subclasses__())}


def wordings(node: ast.expr, tree: ast.Module) -> list[str]:
    """The texts that an expression can be, with … for what is only known when it runs."""
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.JoinedStr):
        parts = ((str(part.value) if isinstance(part, ast.Constant) else "…") for part in node.values)
        return ["".join(parts)]
    if isinstance(node, ast.Name):
        return [text for value in assigned(node.id, tree) for text in wordings(value, tree)]
    raise AssertionError(f"an error whose message cannot be read from the code: {ast.unparse(node)}")


def assigned(name: str, tree: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple):
            for target, value in zip(node.targets[0].elts, node.value.elts, strict=True):
                if isinstance(target, ast.Name) and target.id == name:
                    yield value


def messages() -> set[str]:
    """What every error of divspa/ begins with, whoever raises it."""
    found: set[str] = set()
    for file in (ROOT / "divspa").rglob("*.py"):
        tree = ast.parse(file.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS and node.args:
                if node.func.id != "cls" or file.name == "errors.py":
                    found.update(wordings(node.args[0], tree))
    return found


def test_every_error_has_its_entry_and_every_entry_its_error() -> None:
    page = (ROOT / "docs/errors.md").read_text()
    entries = [row.split(" | ")[0] for row in re.findall(r"^\| (.+) \|$", page, re.MULTILINE)]
    told = {entry for entry in entries if entry not in ("message", "---")}
    assert sorted(messages() - told) == [], "docs/errors.md lacks these"
    assert sorted(told - messages()) == [], "no code raises these"
