# The daily commands; `make install` first.
PYTHON = .venv/bin/python

.PHONY: install check unit test tables site demo notebook

install:
	pip install uv
	uv venv --allow-existing --python 3.11
	uv pip sync -b requirements-build.lock requirements-test.lock

check:
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/pyright
	.venv/bin/lint-imports

unit:
	.venv/bin/pytest tests/unit

test:
	.venv/bin/pytest

tables:
	.venv/bin/divspa tables --out docs

site:
	pip install uv
	uv venv --allow-existing --python 3.11 .venv-docs
	uv pip sync --python .venv-docs/bin/python requirements-docs.lock
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict

notebook:
	.venv/bin/python examples/make_notebook.py

demo:
	.venv/bin/divspa demo
