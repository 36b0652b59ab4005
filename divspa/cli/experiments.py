"""The command `experiment`: a grid of settings over data sets and seeds."""

from pathlib import Path
from typing import Annotated

import typer

from divspa.cli.options import day_of, listed, shipped
from divspa.config import load_config
from divspa.errors import ConfigError
from divspa.progress import console, step


def experiment(
    suite: Annotated[str, typer.Option(help="A suite's YAML file, or the name of one in conf/suites.")],
    out: Annotated[
        Path, typer.Option(help="A folder for results and lakes; a suite that was cut short goes on there.")
    ],
    page: Annotated[Path | None, typer.Option(help="Write the results to this Markdown file.")] = None,
    data_sets: Annotated[str, typer.Option(help="Comma-separated: some of the suite's data sets.")] = "",
    runs: Annotated[str, typer.Option(help="Comma-separated: some of its runs, with the bases they are over.")] = "",
    seeds: Annotated[int, typer.Option(min=0, help="So many of its seeds; 0: all.")] = 0,
    config: Annotated[
        Path | None, typer.Option(help="The log to run it on, instead of the suite's; with --ds.")
    ] = None,
    ds: Annotated[str, typer.Option(help="The day whose test period is ranked, YYYY-MM-DD; with --config.")] = "",
    made_only: Annotated[bool, typer.Option("--made-only", help="Train nothing: the page of what is made.")] = False,
    keep: Annotated[
        Path | None, typer.Option(help="A folder of all results in two small files: read first, written at the end.")
    ] = None,
) -> None:
    """Train and rank a grid of settings over data sets and seeds, and say what the differences are worth."""
    from divspa.experiments.suite import DataSet, load_suite, part_of

    if (config is None) != (not ds):
        raise ConfigError("The options --config and --ds name a log together", expected="both or neither")
    own = None if config is None else DataSet(config=str(config.expanduser().resolve()), ds=day_of(ds))

    of_ours = shipped(f"suites/{suite}.yaml")
    out = out.expanduser().resolve()
    loaded = load_suite(of_ours if of_ours.exists() else suite, out, own)
    loaded = part_of(loaded, listed(data_sets), listed(runs), seeds)
    with step("starting Spark"):
        from divspa.experiments import keep as kept
        from divspa.experiments.page import page as page_of
        from divspa.experiments.run import Experiment
        from divspa.lake.session import spark_session
        from divspa.lake.tables import Lake
        from divspa.schemas import EXPERIMENT_METRICS

        spark = spark_session(loaded.spark if config is None else load_config(config).spark)
    tables = Lake(spark, str(out))
    if keep is not None:
        kept.bring(tables, keep)
    results = Experiment(loaded, spark, str(out), made_only).run()
    if keep is not None:
        kept.keep(tables, keep)
    parts = {
        "config": config and config.name,
        "ds": ds,
        "data-sets": data_sets,
        "runs": runs,
        "seeds": seeds,
        "keep": keep,
    }
    command = f"divspa experiment --suite {suite} --out DIR"
    command += "".join(f" --{name} {value}" for name, value in parts.items() if value)
    command += " --made-only" if made_only else ""
    written = page_of(loaded.name, command, results, tables.read(EXPERIMENT_METRICS))
    spark.stop()
    page = page or out / "results.md"
    page.write_text(written)
    console.print(f"Results: {page}   Delta tables: {out}/experiment_metrics, {out}/experiment_trials", soft_wrap=True)
