"""Click logs as teams really have them: read right, or refused with one clear sentence; every row is accounted for."""

import gzip
import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from pyspark.sql import DataFrame

from divspa.config import Config
from divspa.errors import ConfigError, DivSPAError, InputError
from divspa.features.attributes import read_attributes
from divspa.features.clicks import LogCounts, new_clicks, quarantine
from divspa.features.days import read_log
from divspa.lake.tables import Lake
from divspa.sources.damage import Damage, read_whole, with_damaged
from divspa.sources.files import Files
from divspa.sources.settings import OPTIONS

DAY = date(2024, 1, 10)
START = datetime(2024, 1, 1, tzinfo=UTC)
CLICKS = [(f"u{n % 3}", f"i{n % 5}", START + timedelta(hours=n)) for n in range(30)]
SEEN = {(user, item, time.replace(tzinfo=None)) for user, item, time in CLICKS}


def table(rows=CLICKS, time: pa.DataType | None = None, **columns: pa.Array) -> pa.Table:
    users, items, times = zip(*rows, strict=True)
    whole = {"user": pa.array(users), "item": pa.array(items), "time": pa.array(times, pa.timestamp("us", "UTC"))}
    if time is not None:
        whole["time"] = whole["time"].cast(time, safe=False)
    return pa.table(whole | columns)


class Log:
    """A folder of files, and what the feature job makes of it."""

    def __init__(self, lake: Lake, folder: Path) -> None:
        self.lake, self.folder = lake, folder / "log"
        self.folder.mkdir()

    def text(self, name: str, text: str, encoding: str = "utf-8") -> None:
        self.bytes(name, text.encode(encoding))

    def bytes(self, name: str, content: bytes) -> None:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    def parquet(self, name: str, rows: pa.Table) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, self.folder / name)

    def config(self, **section: Any) -> Config:
        log = {"path": str(self.folder), "user": "user", "item": "item", "time": "time"} | section
        return Config.model_validate({"clicks": log, "split": {"by": "last"}})

    def read(self, **section: Any) -> "Read":
        return Read(self.lake, self.config(**section))


class Read:
    """The clicks of a log, what became of its rows, and the reasons of those refused."""

    def __init__(self, lake: Lake, config: Config) -> None:
        def read(damage: Damage) -> tuple[Files | None, DataFrame, LogCounts]:
            log = read_log(lake, config, DAY, damage)
            rows = log.rows.persist()
            return log.files, rows, LogCounts.of(rows)

        self.files, rows, self.counts = read_whole(config.clicks, read)
        self.clicks = {(row.user_id, row.item_id, row.clicked_at) for row in new_clicks(rows).collect()}
        refused = with_damaged(quarantine(rows), self.files).collect()
        self.refused = {row.reason: row.row for row in refused}
        rows.unpersist()
        parts = self.counts
        told = parts.new + parts.known + parts.repeated + parts.refused + parts.later + parts.not_positive
        told += parts.ignored
        assert parts.read == told, "every row under the path is one of these"

    @property
    def ids(self) -> set[tuple[str, str]]:
        return {(user, item) for user, item, _ in self.clicks}


@pytest.fixture
def log(lake: Lake, tmp_path: Path) -> Log:
    return Log(lake, tmp_path)


def csv_of(rows=CLICKS, columns=("user", "item", "time"), **options: Any) -> str:
    users, items, times = zip(*rows, strict=True)
    written = {"user": users, "item": items, "time": [f"{time:%Y-%m-%dT%H:%M:%SZ}" for time in times]}
    return pd.DataFrame(written)[list(columns)].to_csv(index=False, **options)


@pytest.mark.parametrize("first", [0, -5, 10**18, 0.25])
def test_an_order_takes_any_numbers_and_keeps_every_first_click(log: Log, first: float) -> None:
    places = [(user, item, first + place) for place, (user, item, _) in enumerate(CLICKS)]
    log.parquet("log.parquet", pa.table(dict(zip(("user", "item", "time"), zip(*places, strict=True), strict=True))))
    found = log.read(time_unit="order")
    assert (found.counts.new, found.counts.refused, found.counts.later) == (30, 0, 0)
    in_order = [(user, item) for user, item, _ in sorted(found.clicks, key=lambda click: click[2])]
    assert in_order == [(user, item) for user, item, _ in CLICKS]


@pytest.mark.parametrize(
    "change", [{"split": {"by": "time", "at": START}}, {"features": {"late_days": 1}}, {"clicks.path": "log-{ds}"}]
)
def test_what_needs_times_is_refused_for_an_order(log: Log, change: dict[str, Any]) -> None:
    data = log.config().model_dump(mode="json")
    data["clicks"] |= {"time_unit": "order", "path": change.pop("clicks.path", "log")}
    with pytest.raises(ValidationError, match="knows no times"):
        Config.model_validate(data | change)


def test_quotes_are_doubled_inside_quotes_and_a_row_of_another_width_is_refused(log: Log) -> None:
    text = 'user,item,time\nu1,"Pan 12"", black",2024-01-01\nu1,pot,2024-01-02,more\nu2,pan\n'
    log.text("a.csv", text + '"u3","two\nlines",2024-01-03\n')
    found = log.read(format="csv")
    assert found.ids == {("u1", 'Pan 12", black')}
    assert found.counts.refused == found.counts.read - 1 and set(found.refused) == {"the row does not fit its header"}
    whole = log.read(format="csv", options={"multiLine": True})
    assert whole.ids == {("u1", 'Pan 12", black'), ("u3", "two\nlines")} and whole.counts.read == 4


def test_every_csv_file_is_read_by_its_own_header(log: Log) -> None:
    log.text("day-1.csv", csv_of(CLICKS[:10]))
    log.text("day-2.csv", csv_of(CLICKS[10:20], ("item", "time", "user")))
    log.text(
        "day-3.csv",
        "\ufeff" + csv_of(CLICKS[20:]).replace("user,item,time", "more,user,item,time").replace("\nu", "\nx,u"),
    )
    log.bytes("day-4.csv.gz", gzip.compress(csv_of([("u9", "i9", START)]).encode()))
    assert log.read(format="csv").clicks == SEEN | {("u9", "i9", START.replace(tzinfo=None))}
    log.text("day-5.csv", csv_of(CLICKS, ("user", "item")))
    with pytest.raises(InputError, match=r"day-5.csv lacks the column time"):
        log.read(format="csv")


def test_csv_as_spreadsheets_write_it_elsewhere(log: Log) -> None:
    text = "u1;Käse;01.02.2023 10:00;4,5\nu2;Brot;02.02.2023 10:00;3,5\nu3;Salz;03.02.2023 10:00;-\n"
    log.text("a.csv", text, encoding="cp1252")
    options = {"sep": ";", "header": False, "encoding": "cp1252", "decimal": ","}
    asked = {"user": "_c0", "item": "_c1", "time": "to_timestamp(_c2, 'dd.MM.yyyy HH:mm')", "positive": "_c3 >= 4"}
    nulls = {"null_values": ["-"]}
    found = log.read(format="csv", options=options, **asked, **nulls)
    assert found.ids == {("u1", "Käse")} and found.counts.not_positive == 2
    wrong = log.read(format="csv", options=options | {"encoding": "utf-8"}, **asked, **nulls)
    assert set(wrong.refused) == {"the item is not valid in the text's encoding"}


@pytest.mark.parametrize("unit", ["timestamp", "milliseconds", "seconds"])
def test_a_timestamp_is_one_in_any_unit_whatever_the_setting_says(log: Log, unit: str) -> None:
    kinds = [pa.timestamp("ns"), pa.timestamp("us"), pa.timestamp("ms", "UTC"), pa.timestamp("ns", "Europe/Berlin")]
    for place, kind in enumerate(kinds):
        log.parquet(f"{place}.parquet", table(CLICKS[place::4], kind))
    log.parquet("int96.parquet", table(CLICKS[:1], pa.timestamp("us")))
    pq.write_table(table([("u9", "i9", START)]), log.folder / "int96.parquet", use_deprecated_int96_timestamps=True)
    assert log.read(time_unit=unit).clicks == SEEN | {("u9", "i9", START.replace(tzinfo=None))}


def test_times_of_another_unit_or_without_a_date_are_refused_and_counted(log: Log) -> None:
    seconds = [int(time.timestamp()) for *_, time in CLICKS]
    mixed = [value * 1000 if place % 5 == 0 else value for place, value in enumerate(seconds)]
    log.parquet("mixed.parquet", table(time=None, **{"ts": pa.array(mixed)}))
    found = log.read(time="ts", time_unit="seconds")
    assert (found.counts.new, found.counts.refused) == (24, 6)
    assert set(found.refused) == {"the time lies in the future: another unit?"}
    assert set(log.read(time="ts", time_unit="milliseconds").refused) == {
        "the time is before 1995-01-01: another unit?"
    }
    log.text("clock.csv", "user,item,time\nu1,i1,12:34:56\nu1,i2,1700000000\n")
    clock = log.read(path=str(log.folder / "clock.csv"), format="csv")
    assert set(clock.refused) == {"the time is missing or not a time"} and clock.counts.refused == 2
    undated = log.read(path=str(log.folder / "clock.csv"), format="csv", time="to_timestamp(time, 'HH:mm:ss')")
    assert (undated.counts.new, undated.counts.refused) == (0, 2)


@pytest.mark.parametrize(
    ("unit", "values"),
    [
        ("seconds", ["1704067200", "1704067200.5", "1.7040672e9", "2024-01-01 00:00:00"]),
        ("milliseconds", [1704067200000, Decimal("1704067200000.00")]),
        ("microseconds", [1704067200000000, "1704067200000000"]),
        ("nanoseconds", [1704067200000000001, "1704067200000000999"]),
    ],
)
def test_epochs_are_numbers_of_any_type(log: Log, unit: str, values: list[Any]) -> None:
    for place, value in enumerate(values):
        log.parquet(f"{place}.parquet", pa.table({"user": ["u"], "item": [f"i{place}"], "time": [value]}))
    times = {time for *_, time in log.read(time_unit=unit).clicks}
    assert {time.replace(microsecond=0) for time in times} == {datetime(2024, 1, 1)}


def test_later_rows_are_counted_and_not_lost(log: Log) -> None:
    log.parquet("log.parquet", table([*CLICKS, ("u1", "i1", START + timedelta(days=40))]))
    found = log.read(positive="item <> 'i0'")
    assert (found.counts.later, found.counts.not_positive, found.counts.new) == (1, 6, 24)


RECORDS = [{"user": f"u{n}", "item": "}{", "time": "2024-01-01T00:00:00Z", "n": {"deep": n}} for n in range(9)]
JSON = {
    "lines": "\n".join(map(json.dumps, RECORDS)),
    "joined": "".join(map(json.dumps, RECORDS[:5])) + "\n" + " ".join(map(json.dumps, RECORDS[5:])),
    "array": json.dumps(RECORDS, indent=2),
    "array on a line": json.dumps(RECORDS),
    "pretty": "\n".join(json.dumps(record, indent=1) for record in RECORDS),
}


@pytest.mark.parametrize("name", JSON)
def test_every_json_record_is_read_wherever_it_stands(log: Log, name: str) -> None:
    log.text("a.json", JSON[name])
    found = log.read(format="jsonl", user="concat(user, '/', n.deep)")
    assert found.ids == {(f"u{n}/{n}", "}{") for n in range(9)} and found.counts.read == 9


def test_a_broken_json_record_is_refused_alone(log: Log) -> None:
    log.text("a.jsonl", JSON["joined"] + '\n{"user": "broken\n' + json.dumps(RECORDS[0] | {"user": "last"}))
    found = log.read(format="jsonl")
    assert (found.counts.new, found.counts.refused) == (10, 1)
    assert json.loads(found.refused["the row cannot be parsed"]) == {"line": '{"user": "broken'}


def test_folders_of_any_depth_are_read_and_what_is_not_is_named(log: Log) -> None:
    log.parquet("a.parquet", table(CLICKS[:10]))
    log.parquet("2024/01/02/b.parquet", table(CLICKS[10:20]))
    log.parquet("_dumps/old.parquet", table([("never", "read", START)]))
    log.parquet("dt=2024-01-03/c d {1}.parquet", table(CLICKS[20:]))
    log.bytes("_SUCCESS", b"")
    log.bytes("2024/empty.parquet", b"")
    found = log.read()
    assert found.clicks == SEEN and found.files is not None
    assert {Path(name).name: why for name, why in found.files.left_out.items()} == {
        "_SUCCESS": "its name begins with . or _",
        "old.parquet": "its name begins with . or _",
        "empty.parquet": "it is empty",
    }
    assert (found.files.found, len(found.files.data)) == (6, 3)
    assert log.read(path=f"{log.folder}/2024/*/*/").counts.new == 10
    with pytest.raises(InputError, match="holds no files of data"):
        log.read(path=f"{log.folder}/2023/**/")


def test_the_values_of_folders_are_texts(log: Log) -> None:
    for shop in ("007", "b c", "__HIVE_DEFAULT_PARTITION__"):
        log.parquet(f"shop={shop}/a.parquet", table(CLICKS[:3]))
    found = log.read(item="concat(coalesce(shop, 'none'), '/', item)")
    assert {item.partition("/")[0] for _, item in found.ids} == {"007", "b c", "none"}


def test_spellings_of_null_are_no_user(log: Log) -> None:
    nobody = ["NULL", "NaN", "None", "\\N", '""', "nan"]
    log.text(
        "a.csv", "user,item,time\n" + "".join(f"{name},i{n},2024-01-01\n" for n, name in enumerate([*nobody, "Noname"]))
    )
    found = log.read(format="csv")
    assert found.ids == {("Noname", "i6")} and set(found.refused) == {"the user is null or empty"}
    assert log.read(format="csv", null_values=["noname"]).ids == {
        (name, f"i{n}") for n, name in enumerate(nobody) if name != '""'
    }


def test_lists_of_items_are_taken_apart_where_asked_and_refused_otherwise(log: Log) -> None:
    text = (
        "user,item,time\nu1,\"['a', 'b']\",2024-01-01\nu2,\"[1,2,2]\",2024-01-01\nu3,c,2024-01-01\nu4,[],2024-01-01\n"
    )
    log.text("a.csv", text)
    refused = log.read(format="csv")
    assert refused.ids == {("u3", "c")} and set(refused.refused) == {
        "the item is a list, which `clicks.explode` would take apart"
    }
    apart = log.read(format="csv", explode=True)
    assert apart.ids == {("u1", "a"), ("u1", "b"), ("u2", "1"), ("u2", "2"), ("u3", "c")}
    assert (apart.counts.repeated, set(apart.refused)) == (
        1,
        {"the item is null or empty", "the same user, item and time again"},
    )
    log.parquet("b/a.parquet", table(CLICKS[:1], basket=pa.array([[1, 2]])))
    assert log.read(path=f"{log.folder}/b", item="basket", explode=True).ids == {("u0", "1"), ("u0", "2")}
    with pytest.raises(ConfigError, match=r"clicks.item is of a nested type"):
        log.read(path=f"{log.folder}/b", item="basket")


def test_an_id_is_written_the_same_way_whatever_type_carries_it(log: Log) -> None:
    written = {
        "int64": pa.array([53, 2**53 + 1]),
        "int32": pa.array([53, 7], pa.int32()),
        "double": pa.array([53.0, None]),
        "float": pa.array([53.0, 7.5], pa.float32()),
        "decimal": pa.array([Decimal(53), Decimal(2**53 + 1)], pa.decimal128(20, 0)),
        "fraction": pa.array([Decimal("53.00"), Decimal("7.50")], pa.decimal128(9, 2)),
        "string": pa.array(["53", "007"]),
        "category": pa.array([" 53", "a"]).dictionary_encode(),
        "unsigned": pa.array([53, 2**63], pa.uint64()),
        "binary": pa.array([b"53", b"b"]),
    }
    for name, users in written.items():
        log.parquet(f"{name}.parquet", pa.table({"user": users, "item": [name] * 2, "time": [START] * 2}))
    found = log.read()
    assert {item for user, item in found.ids if user == "53"} == written.keys()
    others = {user for user, _ in found.ids} - {"53"}
    assert others == {str(2**53 + 1), "7", "7.5", "007", "a", str(2**63), "b"}
    assert set(found.refused) == {"the user is null or empty"}


def test_expressions_over_texts_have_types_and_a_row_that_fails_is_refused(log: Log) -> None:
    text = "user,item,rating,time\n" + "".join(f"u{n},00{n},{n / 2},2024-01-0{n}\n" for n in range(1, 10))
    log.text("a.csv", text + "u9,010,many,2024-01-01\nu9,011,,2024-01-01\nu9,012,5.0,someday\n")
    asked = {"positive": "rating >= 2.5", "time": "to_timestamp(time)", "item": "concat('x', item)"}
    found = log.read(format="csv", **asked)
    assert found.ids == {(f"u{n}", f"x00{n}") for n in range(5, 10)}
    assert found.counts.not_positive == 5
    assert set(found.refused) == {"`clicks.positive` cannot be computed", "the time is missing or not a time"}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"positive": "rand() > 0.5"}, "the function rand"),
        ({"positive": "sum(n) > 1"}, "the function sum"),
        ({"positive": "row_number() over (order by n) > 1"}, "WindowExpression"),
        ({"positive": "(select 1) = 1"}, "ScalarSubquery"),
        ({"positive": "explode(array(1))"}, "the function explode"),
        ({"positive": "java_method('java.lang.Runtime', 'getRuntime') = ''"}, "java_method"),
        ({"positive": "n + 1"}, "clicks.positive is no condition"),
        ({"positive": "*"}, "clicks.positive"),
        ({"positive": "n > "}, "clicks.positive"),
        ({"positive": "nothing > 1"}, "lacks the column nothing of clicks.positive"),
        ({"user": "concat(user, current_user())"}, "current_user"),
        ({"time": "array(time)"}, "clicks.time is no time"),
        ({"time": "n"}, "clicks.time_unit is `timestamp`, but the time column holds numbers"),
        ({"positive": "n > 1 AND " * 2000 + "n > 1"}, "at most 10000 characters"),
    ],
)
def test_expressions_are_checked_before_any_job(log: Log, section: dict[str, str], message: str) -> None:
    log.parquet("a.parquet", table(n=pa.array(range(30))))
    with pytest.raises(DivSPAError, match=message.replace("*", r"\*")):
        log.read(**section)


def test_a_click_counts_by_its_weight_and_its_kind_of_event(log: Log) -> None:
    kinds, shares = ["view", "buy", "noise", None, "skip"], [0.5, None, -1.0, 0.0]
    event = pa.array([kinds[n % 5] for n in range(30)])
    log.parquet("log.parquet", table(event=event, share=pa.array([shares[n % 4] for n in range(30)])))
    worth = {"column": "event", "weights": {"view": 1, "buy": 5, "skip": 0}}
    found = log.read(events=worth)
    assert (found.counts.new, found.counts.not_positive, found.counts.refused) == (12, 6, 12)
    assert set(found.refused) == {"the event is none of `clicks.events`"}
    rows = new_clicks(read_log(log.lake, log.config(events=worth), DAY).rows)
    assert {(row.event, row.weight) for row in rows.collect()} == {("view", 1.0), ("buy", 5.0)}
    found = log.read(events=worth | {"unknown": "ignore"})
    assert (found.counts.new, found.counts.not_positive, found.counts.ignored) == (12, 6, 12)
    found = log.read(weight="share")
    assert (found.counts.new, found.counts.not_positive, found.counts.refused) == (8, 7, 15)
    assert set(found.refused) == {"the weight is missing, negative or infinite"}


def test_columns_of_any_name_and_type_beside_those_in_use(log: Log) -> None:
    strange = {"a.b": pa.array(range(30)), "tick`s": pa.array(range(30)), "USER": pa.array(["x"] * 30)}
    strange |= {
        "clock": pa.array([0] * 30, pa.time64("ns")),
        "none": pa.nulls(30),
    }
    log.parquet("a.parquet", table(**strange))
    assert log.read(item="a.b").ids == {(user, str(n)) for n, (user, *_) in enumerate(CLICKS)}
    assert log.read(item="tick`s", positive="`a.b` < 3").counts.new == 3
    with pytest.raises(InputError, match=r"column clock .* Spark cannot read"):
        log.read(item="clock")


def test_older_files_may_lack_a_column_only_where_it_is_said(log: Log) -> None:
    log.parquet("old.parquet", table(CLICKS[:10]))
    log.parquet("new.parquet", table(CLICKS[10:], bot=pa.array([False] * 20)))
    with pytest.raises(InputError, match=r"old.parquet lacks the column bot"):
        log.read(positive="not coalesce(bot, false)")
    assert log.read(positive="not coalesce(bot, false)", optional_columns=["bot"]).clicks == SEEN


@pytest.mark.parametrize("damage", ["cut", "garbage", "zip"])
def test_a_damaged_file_is_named_or_set_aside(log: Log, damage: str) -> None:
    log.parquet("good.parquet", table())
    log.parquet("bad file.parquet", table([("u9", "i9", START)]))
    content = (log.folder / "bad file.parquet").read_bytes()
    log.bytes("bad file.parquet", {"cut": content[:-40], "garbage": b"x" * 99, "zip": b"PK\x03\x04"}[damage])
    with pytest.raises(InputError, match=r"bad file.parquet cannot be read as parquet"):
        log.read()
    found = log.read(corrupt_files="quarantine")
    assert found.clicks == SEEN and found.files is not None and len(found.files.damaged) == 1
    assert any("bad file.parquet" in row for row in found.refused.values())


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_a_file_that_is_damaged_further_in_is_named_or_set_aside(log: Log, form: str) -> None:
    many = [(f"u{n}", f"i{n * n % 9973}", START + timedelta(seconds=n)) for n in range(45_000)]
    log.folder.joinpath("a é").mkdir()
    if form == "parquet":
        log.parquet("good.parquet", table())
        log.parquet("a é/bad file.parquet", table(many))
        content = bytearray((log.folder / "a é/bad file.parquet").read_bytes())
        content[len(content) // 2 : len(content) // 2 + 5000] = bytes(range(256)) * 19 + bytes(136)
        log.bytes("a é/bad file.parquet", bytes(content))
    else:
        lines = csv_of if form == "csv" else json_lines
        log.text(f"good.{form}", lines(CLICKS))
        whole = gzip.compress(lines(many).encode())
        log.bytes(f"a é/bad file.{form}.gz", whole[:-2000])
    with pytest.raises(InputError, match=rf"a é/bad file.{form}.* cannot be read to its end as {form}") as error:
        log.read(format=form)
    assert "corrupt_files: quarantine" in str(error.value) and "Py4J" not in str(error.value)
    found = log.read(format=form, corrupt_files="quarantine")
    assert found.clicks == SEEN and found.files is not None and len(found.files.damaged) == 1
    assert any(f"bad file.{form}" in row for row in found.refused.values())


def json_lines(rows: list[tuple[str, str, datetime]]) -> str:
    return "\n".join(json.dumps({"user": user, "item": item, "time": str(time)}) for user, item, time in rows)


def test_a_name_that_spark_cannot_read_is_named(log: Log) -> None:
    log.parquet("2024-01-01T10:00:00.parquet", table())
    with pytest.raises(InputError, match=r"T10:00:00.parquet cannot be read.*colon"):
        log.read()


def test_attributes_have_quarantine_repeats_and_typed_fields(lake: Lake, tmp_path: Path) -> None:
    file = tmp_path / "items.csv"
    text = (
        'id,kind,price,tags\n1.0,a,"1,5",x|y\n2,b,-Infinity,\n2,a,3,z\nNULL,a,1,\n3,a,1,u,v\n\xff,a,1,\n4,NaN,n/a,x\n'
    )
    file.write_bytes(text.encode("latin-1"))
    fields = ["kind", {"name": "price", "kind": "numeric"}, {"name": "tags", "kind": "multi", "delimiter": "|"}]
    section = {"path": str(file), "format": "csv", "id": "id", "fields": fields, "options": {"decimal": ","}}
    config = Config.model_validate({"clicks": {"path": "-", "user": "u", "item": "i", "time": "t"}, "items": section})
    read = read_attributes(lake.spark, config.items, "items", DAY)
    assert read is not None
    rows = {row.item_id: (row.kind, row.price, row.tags) for row in read.named.collect()}
    assert rows == {
        "1.0": ("a", 1.5, ["x", "y"]),
        "2": ("a", 3.0, ["z"]),
        "4": (None, None, ["x"]),
    }
    assert {row.reason for row in read.refused().collect()} == {
        "the id is null or empty",
        "the row does not fit its header",
        "a text is not valid in the encoding",
    }
    assert [row.item_id for row in read.gathered.where("repeated").collect()] == ["2"]


@pytest.mark.parametrize("format", OPTIONS)
def test_unknown_options_are_refused(log: Log, format: str) -> None:
    with pytest.raises(ValidationError, match="`options` of"):
        log.config(format=format, options={"pathGlobFilter": "*"})
