import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import DataFrame

from divspa.errors import ContractError, MissingTableError
from divspa.lake.delta_log import rows_in
from divspa.schemas import METRICS
from divspa.schemas.contract import DS, Column, Table

DAY, NEXT = date(2024, 1, 1), date(2024, 1, 2)
PRICES = Table(
    name="prices",
    grain="One row an item",
    columns=(
        DS,
        Column("item", "STRING", "The item's name"),
        Column("price", "DOUBLE", "Price"),
        Column("note", "STRING", "A note", True),
    ),
    key=("item",),
    checks={"price_positive": "price > 0"},
)


def rows(lake, *values):
    return lake.spark.createDataFrame(list(values), "item string, price double, note string")


def prices(lake, ds=DAY):
    return sorted((row["item"], row["price"]) for row in lake.read_day(PRICES, ds).collect())


def test_a_table_carries_its_contract(lake) -> None:
    lake.replace_day(PRICES, rows(lake, ("a", 1.0, None)), DAY)
    schema = lake.read(PRICES).schema
    assert [(field.name, field.dataType.simpleString(), field.nullable) for field in schema] == [
        ("ds", "date", False),
        ("item", "string", False),
        ("price", "double", False),
        ("note", "string", True),
    ]
    assert schema["price"].metadata["comment"] == "Price"
    detail = lake.spark.sql(f"DESCRIBE DETAIL delta.`{lake.path(PRICES)}`").first()
    assert detail["partitionColumns"] == ["ds"]
    assert detail["properties"]["delta.constraints.price_positive"] == "price > 0"


def test_writing_a_day_replaces_that_day_only(lake) -> None:
    lake.replace_day(PRICES, rows(lake, ("a", 1.0, None)), DAY)
    lake.replace_day(PRICES, rows(lake, ("b", 2.0, None)), NEXT)
    lake.replace_day(PRICES, rows(lake, ("c", 3.0, None), ("d", 4.0, "x")), DAY)
    assert prices(lake, DAY) == [("c", 3.0), ("d", 4.0)]
    assert prices(lake, NEXT) == [("b", 2.0)]


def test_the_rows_of_a_day_are_counted_alike_from_the_checksum_and_from_the_log(lake, monkeypatch) -> None:
    for day, values in (
        (DAY, [("a", 1.0, None), ("b", 1.0, None)]),
        (NEXT, [("c", 1.0, None)]),
        (DAY, [("d", 1.0, "x")]),
    ):
        lake.replace_day(PRICES, rows(lake, *values), day)
    whole, path = lake.read(PRICES), lake.path(PRICES)
    with monkeypatch.context() as patched:
        patched.setattr(DataFrame, "collect", lambda *_: pytest.fail("a job for what the checksum says"))
        assert [rows_in(whole, path, {"ds": ds}) for ds in (DAY, NEXT, date(2024, 1, 3))] == [1, 1, 0]
        assert rows_in(lake.read(PRICES, 2), path, {"ds": DAY}) == 2
    checksum = Path(path, "_delta_log", f"{lake.version(PRICES):020}.crc")
    for damaged in (b"", b"{}", checksum.read_bytes()[:-9]):
        checksum.write_bytes(damaged)
        assert [rows_in(whole, path, {"ds": ds}) for ds in (DAY, NEXT, date(2024, 1, 3))] == [1, 1, 0]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([("a", 1.0, None), ("a", 2.0, None)], "repeat a key.*2 rows for item=a"),
        ([("a", -1.0, None)], "price_positive"),
        ([(None, 1.0, None)], "item"),
    ],
)
def test_rows_that_break_the_contract_are_rejected_and_the_day_stays(lake, bad, message) -> None:
    lake.replace_day(PRICES, rows(lake, ("a", 1.0, None)), DAY)
    with pytest.raises(ContractError, match=message):
        lake.replace_day(PRICES, rows(lake, *bad), DAY)
    assert prices(lake) == [("a", 1.0)]


def test_rows_of_the_driver_that_repeat_a_key_are_rejected_before_a_table_is_made(lake) -> None:
    with pytest.raises(ContractError, match=r"repeat a key.*2 rows for item=a"):
        lake.replace_day_with(PRICES, [("a", 1.0, None), ("b", 1.0, None), ("a", 2.0, "x")], DAY)
    assert not lake.exists(PRICES)


def test_a_missing_column_is_named(lake) -> None:
    with pytest.raises(ContractError, match="no price"):
        lake.replace_day(PRICES, rows(lake, ("a", 1.0, None)).drop("price"), DAY)


def test_a_missing_table_and_a_missing_day_say_what_to_run(lake) -> None:
    with pytest.raises(MissingTableError, match="divspa run"):
        lake.read_day(METRICS, DAY)
    lake.replace_day(PRICES, rows(lake, ("a", 1.0, None)), DAY)
    with pytest.raises(MissingTableError, match="ds=2024-01-02"):
        lake.read_day(PRICES, NEXT)


def test_the_files_of_a_pinned_version_leave_out_what_was_replaced(lake) -> None:
    lake.replace_day(PRICES, rows(lake, ("a", 1.0, None)), DAY)
    first = lake.version(PRICES)
    lake.replace_day(PRICES, rows(lake, ("b", 2.0, None)), DAY)
    second = lake.version(PRICES)
    old, new = lake.files(PRICES, DAY, first), lake.files(PRICES, DAY, second)
    assert old and new and not set(old) & set(new)
    assert all(file.startswith("file:") for file in old + new)


def test_two_processes_may_be_the_first_to_fetch_delta(tmp_path) -> None:
    """Ivy's cache lies in Java's home, here an empty one; without our lock one of the two fails."""
    start = (
        "from divspa.config import Spark; from divspa.lake.session import spark_session; "
        "print(spark_session(Spark(master='local[1]')).range(5).count())"
    )
    environment = os.environ | {"JAVA_TOOL_OPTIONS": f"-Duser.home={tmp_path}"}
    both = [
        subprocess.Popen([sys.executable, "-c", start], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [process.communicate(timeout=300)[0].split()[-1:] for process in both] == [["5"], ["5"]]
