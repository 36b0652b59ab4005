"""The pages say what the code does: every error and command has its entry, and the README leads somewhere."""

import ast
import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

from divspa.cli.app import BENCHES, COMMANDS
from divspa.errors import DivSPAError

ROOT = Path(__file__).parents[2]
KINDS = {DivSPAError.__name__, *(kind.__name__ for kind in DivSPAError.__subclasses__())}


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
        match node:
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                named = zip(targets, values, strict=True)
                yield from (value for target, value in named if isinstance(target, ast.Name) and target.id == name)


def messages() -> set[str]:
    """What every error of divspa/ begins with, whoever raises it: by its kind, or by whatever takes a remedy."""
    found: set[str] = set()
    for file in (ROOT / "divspa").rglob("*.py"):
        tree = ast.parse(file.read_text())
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=made, args=[message, *_], keywords=told):
                    labels = {label.arg for label in told} & {"expected", "found", "remedy"}
                    if labels or (isinstance(made, ast.Name) and made.id in KINDS):
                        found.update(wordings(message, tree))
    return found


def test_every_error_has_its_entry_and_every_entry_its_error() -> None:
    page = (ROOT / "docs/errors.md").read_text()
    entries = [row.split(" | ")[0] for row in re.findall(r"^\| (.+) \|$", page, re.MULTILINE)]
    told = {entry for entry in entries if entry not in ("message", "---")}
    assert sorted(messages() - told) == [], "docs/errors.md lacks these"
    assert sorted(told - messages()) == [], "no code raises these"


def test_every_command_has_its_entry() -> None:
    page = (ROOT / "docs/commands.md").read_text()
    told = re.findall(r"^\| `divspa ([a-z ]+)` \|", page, re.MULTILINE)
    assert sorted(told) == sorted([*COMMANDS, *(f"bench {name}" for name in BENCHES)])


def test_what_the_readme_points_to_is_there() -> None:
    readme = (ROOT / "README.md").read_text()
    targets = re.findall(r"\]\(([^)#:]+)\)", readme)
    assert [target for target in targets if not (ROOT / target).exists()] == [] and len(targets) > 10
    assert len(readme.splitlines()) < 100, "one page"


def test_the_notebook_is_of_the_examples_as_they_are_and_names_no_path() -> None:
    cells = json.loads((ROOT / "examples/divspa.ipynb").read_text())["cells"]
    made = runpy.run_path(str(ROOT / "examples/make_notebook.py"))
    held = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    assert held == made["sources"](), "`make notebook` makes it anew"
    printed = ["".join(shown["text"]) for cell in cells for shown in cell.get("outputs", [])]
    assert len(printed) == len(made["SHOWN"])
    assert not [text for text in printed if re.search(r"/(tmp|home|root|work|usr)/", text)]
