"""The public names, and the examples that use them, in the suite's own Spark session."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F

import divspa
from divspa.errors import ConfigError, ContractError, TrainingError

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_public_names() -> None:
    assert divspa.__all__ == [
        *("Config", "DivSPA", "Evaluation", "SearchReport", "SearchSettings"),
        *("augment", "errors", "evaluate", "losses", "run", "search"),
    ]
    assert divspa.losses.__all__ == ["mix_up_outputs", "mix_up_representations", "sampled_softmax", "student_weights"]
    for name in divspa.__all__:
        assert getattr(divspa, name).__doc__, name
    heavy = "import sys, divspa; print(sorted({'pyspark', 'torch', 'faiss', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", "to import divspa costs nothing"
    with pytest.raises(AttributeError, match="no attribute 'serch'"):
        _ = divspa.serch


def test_examples_are_short() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    ours = {"search", "losses", "augment_als", "evaluate", "run_a_day"}
    assert names >= ours
    lengths = {name: len((EXAMPLES / f"{name}.py").read_text().splitlines()) for name in ours}
    assert max(lengths.values()) <= 60, lengths


def test_a_name_that_needs_more_than_a_service_does_says_so() -> None:
    without = [*("pyspark", "delta", "petastorm", "pydantic", "yaml", "rich", "pandas", "scipy", "safetensors")]
    code = f"import sys; sys.modules.update(dict.fromkeys({without}))"
    code += """
import divspa
print(divspa.losses.__name__)
for name in ("search", "augment", "evaluate", "run", "Config"):
    try:
        getattr(divspa, name)
    except divspa.errors.SetupError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    losses, *refusals = done.stdout.splitlines()
    assert losses == "divspa.losses" and len(refusals) == 5, done.stderr
    assert all("pip install 'divspa[pipeline]'" in each for each in refusals), refusals


def test_search_and_evaluate(spark) -> None:
    found = example("search").main(spark).collect()
    assert len(found) == 2000 and all(len(row.ids) == 10 for row in found)
    figures = example("evaluate").main(spark)
    assert figures.metrics["popular"]["hr@10"] > 2 * figures.metrics["random"]["hr@10"]
    assert figures.comparisons["popular", "hr@10"].p_t < 0.001
    table = figures.table()
    assert (table["p_holm"] >= table["p_t"]).all() and set(table["verdict"]) == {"better"}
    # Ids may be numbers, and a user has one list.
    numbered = spark.createDataFrame([(1, [3, 4]), (2, [4, 5])], "user_id bigint, item_ids array<bigint>")
    asked = spark.createDataFrame([("1", "4"), ("2", "9")], "user_id string, item_id string")
    assert divspa.evaluate({"a": numbered}, asked, against="a", ks=(2,)).metrics["a"]["hr@2"] == 0.5
    with pytest.raises(ContractError, match=r"lists of a repeat an id.* twice"):
        divspa.evaluate({"a": numbered.union(numbered)}, asked, against="a")
    with pytest.raises(ConfigError, match="names no model"):
        divspa.evaluate({}, spark.range(1), against="a")
    with pytest.raises(ConfigError, match="first k places"):
        divspa.evaluate({"a": numbered}, asked, against="a", ks=(0,))
    with pytest.raises(ContractError, match="nothing to evaluate"):
        divspa.evaluate({"a": numbered}, asked.limit(0), against="a")
    with pytest.raises(ContractError, match=r"lists of a lacks columns.*no item_ids"):
        divspa.evaluate({"a": numbered.drop("item_ids")}, asked, against="a")
    with pytest.raises(ContractError, match=r"events lacks columns.*no item_id"):
        divspa.evaluate({"a": numbered}, asked.drop("item_id"), against="a")


def test_losses_fall() -> None:
    losses = example("losses").main()
    assert losses[-1] < 0.7 * losses[0]


def test_als_gains_from_what_its_own_vectors_add(spark) -> None:
    found = example("augment_als").main(spark)
    gain = found.comparisons["als, augmented", "hr@20"]
    assert gain.relative > 0.1 and gain.p_permutation < 0.05 and gain.against > 2 * 20 / 600


def test_a_day_from_python(tmp_path) -> None:
    assert list(example("run_a_day").main(tmp_path)) == ["build_features", "train_base"]
    clicks = {"path": "none.parquet", "user": "u", "item": "i", "time": "t"}
    config = divspa.Config.model_validate({"lake": str(tmp_path), "clicks": clicks})
    with pytest.raises(ConfigError, match="`ds` is no day"):
        divspa.run(config, "20 June 2024")


def test_augment_adds_what_is_near_and_new_and_says_what_is_wrong(spark) -> None:
    rng = np.random.default_rng(1)
    vectors = np.repeat(np.eye(4, 8, dtype=np.float32), 10, axis=0) + rng.normal(0, 0.01, (40, 8)).astype(np.float32)
    items = spark.createDataFrame(pd.DataFrame({"item_id": [f"i{n}" for n in range(40)], "vector": list(vectors)}))
    users = spark.createDataFrame(pd.DataFrame({"user_id": [f"u{n}" for n in range(4)], "vector": list(vectors[::10])}))
    pairs = [(f"u{n}", f"i{10 * n + item}") for n in range(4) for item in range(3)]
    clicks = spark.createDataFrame(
        [*pairs, pairs[0], ("nobody", "i1"), ("u1", "nothing")], "user_id string, item_id string"
    )
    settings = divspa.DivSPA(ways=("u2i", "i2i"), top_k=5, m=2)
    rows = divspa.augment(clicks, users, items, settings).collect()
    assert sorted((row.user_id, row.item_id) for row in rows) == sorted(pairs)
    for row in rows:
        kind = int(row.user_id[1:])
        added = [int(item[1:]) for item in row.sampled_item_ids]
        assert added and all(10 * kind + 3 <= item < 10 * kind + 10 for item in added), "near, and not clicked yet"
        assert sum(row.sampled_weights) == pytest.approx(1)
        assert {way for each in row.sampled_sources for way in each.split("+")} <= {"u2i", "i2i"}
    again = divspa.augment(clicks.repartition(3), users, items.orderBy(F.desc("item_id")), settings, tasks=2).collect()
    assert sorted(map(str, again)) == sorted(map(str, rows)), "whatever the order and the partitions"
    with pytest.raises(ContractError, match="users lacks columns"):
        divspa.augment(clicks, users.drop("vector"), items)
    with pytest.raises(ContractError, match="i0 twice"):
        divspa.augment(clicks, users, items.union(items.where("item_id = 'i0'")))
    with pytest.raises(ContractError, match="u0 twice"):
        divspa.augment(clicks, users.union(users.where("user_id = 'u0'")), items)
    with pytest.raises(ContractError, match=r"whole numbers.*id STRING"):
        divspa.search(users.withColumnRenamed("user_id", "id"), users.withColumnRenamed("user_id", "id"), 3)
    control = divspa.augment(clicks, users, items, divspa.DivSPA(ways=("random",), top_k=5, m=2)).collect()
    assert {way for row in control for way in row.sampled_sources} == {"random"}
    with pytest.raises(ConfigError, match="item_neighbours"):
        divspa.augment(clicks, users, items, divspa.DivSPA(ways=("linear_u2i",)))
    # Of 40 items 39 are clicked: one is left to add, and no padding stands beside it.
    near = divspa.DivSPA(ways=("i2i",), top_k=40, m=3)
    most = spark.createDataFrame([("u0", f"i{n}") for n in range(39)], "user_id string, item_id string")
    assert {tuple(row.sampled_item_ids) for row in divspa.augment(most, users, items, near).collect()} == {("i39",)}
    for setting in ({"allowed": "in_stock"}, {"choose": "auto"}, {"gates": {"filled": 0.9}}):
        with pytest.raises(ConfigError, match=f"only the stage .* obeys.*{next(iter(setting))}"):
            divspa.augment(clicks, users, items, divspa.DivSPA.model_validate(setting))


@pytest.mark.parametrize("side", ["users", "items"])
def test_augment_refuses_vectors_that_it_cannot_use(spark, side: str) -> None:
    key = f"{side[:-1]}_id"
    vectors = "array(float(1), float(0)) AS vector"
    frames = {of: spark.range(3).selectExpr(f"id AS {of[:-1]}_id", vectors).persist() for of in ("users", "items")}
    pairs = spark.createDataFrame([(0, 0), (1, 1)], "user_id bigint, item_id bigint")
    for frame in frames.values():
        frame.count()  # Fills its cache, so that what is held below is held by divspa.
    held = set(spark.sparkContext._jsc.getPersistentRDDs())
    for vector, error, message in (
        ("array(float('nan'), float(1))", TrainingError, f"vector of the {side} is not finite.*{key} 2"),
        ("NULL", TrainingError, f"vector of the {side} is not finite.*{key} 2"),
        ("array(float(1))", ContractError, "differ in length.*1 and 2"),
    ):
        broken = frames[side].selectExpr(key, f"if({key} = 2, {vector}, vector) AS vector")
        with pytest.raises(error, match=message):
            divspa.augment(pairs, **frames | {side: broken})
    with pytest.raises(ContractError, match=f"{side} .* need ids.*1 without one"):
        divspa.augment(pairs, **frames | {side: frames[side].selectExpr(f"nullif({key}, 2) AS {key}", "vector")})
    with pytest.raises(ContractError, match=f"{side} .* need ids.*no rows"):
        divspa.augment(pairs, **frames | {side: frames[side].limit(0)})
    assert set(spark.sparkContext._jsc.getPersistentRDDs()) <= held, "what was refused holds no memory"
