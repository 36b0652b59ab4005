"""The contracts as people read them: the page is of today's schemas, and no promise is broken in silence."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from divspa.errors import ContractError
from divspa.lake.contracts import PAGE, RECORD, broken, record, write
from divspa.schemas import METRICS, RECALL_U2I, TABLES
from divspa.schemas.contract import Column

DOCS = Path(__file__).parents[3] / "docs"


def test_page_and_record_are_those_of_the_schemas(tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text((DOCS / RECORD).read_text())
    write(TABLES.values(), tmp_path)
    for name in (PAGE, RECORD):
        assert (tmp_path / name).read_text() == (DOCS / name).read_text(), "run `divspa tables --out docs`"


def test_every_table_says_who_writes_it_and_what_for() -> None:
    for table in TABLES.values():
        assert table.written_by and table.read_for and all(column.comment for column in table.columns), table.name


CHANGES = {
    "recall_u2i: scores is gone": {"columns": tuple(c for c in RECALL_U2I.columns if c.name != "scores")},
    "recall_u2i: scores was ARRAY<FLOAT> NOT NULL, is ARRAY<DOUBLE> NOT NULL": {
        "columns": tuple(replace(c, type="ARRAY<DOUBLE>") if c.name == "scores" else c for c in RECALL_U2I.columns)
    },
    "recall_u2i: scores was ARRAY<FLOAT> NOT NULL, is ARRAY<FLOAT>": {
        "columns": tuple(replace(c, nullable=True) if c.name == "scores" else c for c in RECALL_U2I.columns)
    },
    "recall_u2i: key was user_id": {"key": ("user_id", "model_version")},
    "recall_u2i: partitioned_by was ds": {"partitioned_by": ("ds", "user_id")},
    "recall_u2i: origin is new and may not be null": {
        "columns": (*RECALL_U2I.columns, Column("origin", "STRING", "Where from"))
    },
}


@pytest.mark.parametrize("message", CHANGES)
def test_a_change_that_a_reader_may_notice_needs_a_new_version(message: str, tmp_path: Path) -> None:
    changed = replace(RECALL_U2I, **CHANGES[message])
    before = record([RECALL_U2I, METRICS])
    assert broken(before, record([changed, METRICS])) == [message]
    assert broken(before, record([replace(changed, version=2), METRICS])) == []
    write([RECALL_U2I], tmp_path)
    with pytest.raises(ContractError, match="raise `version`"):
        write([changed], tmp_path)
    assert json.loads((tmp_path / RECORD).read_text()) == record([RECALL_U2I])


def test_a_column_that_may_be_null_and_a_better_comment_need_none() -> None:
    grown = (*RECALL_U2I.columns, Column("origin", "STRING", "Where from", nullable=True))
    before = record([RECALL_U2I])
    assert broken(before, record([replace(RECALL_U2I, columns=grown, grain="One row a user")])) == []
    assert broken(before, {}) == ["recall_u2i: the table is gone"]
