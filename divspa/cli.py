"""The command line: parse, build, run. The jobs in `jobs/` call `run_job` with the same options."""

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table as RichTable

from divspa.config import Config, load_config
from divspa.errors import ConfigError, GateError, as_divspa_error, one_line
from divspa.progress import console, log_to_stderr, step

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
bench = typer.Typer(no_args_is_help=True, help="Measure a hot path against its reference, in one run.")
app.add_typer(bench, name="bench")

GATE_CLOSED = 3
ConfigFile = Annotated[Path, typer.Option("--config", help="Configuration file; `divspa config` prints a template.")]
Day = Annotated[str, typer.Option("--ds", help="Logical day, YYYY-MM-DD; later clicks are not seen.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="Override a key: section.key=value. Repeatable.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else there.")]


@app.command()
def demo(
    lake: Annotated[str, typer.Option(help="Where the Delta tables go.")] = "lake",
    clicks: Annotated[int | None, typer.Option(min=1000, help="Use about this many clicks, of whole users.")] = None,
    synthetic: Annotated[bool, typer.Option("--synthetic", help="Generate the clicks.")] = False,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Run every stage on a year of real purchases (Complete Journey) and compare the base model with DivSPA."""
    with tempfile.TemporaryDirectory() as folder:
        if synthetic:
            path, ds, chosen = _synthetic_log(Path(folder), clicks)
        else:
            path, ds, chosen = _complete_journey(clicks)
        config = load_config(path, [*chosen, f"lake={lake}", *(overrides or [])])
        _run(config, ds, None, None, as_json)


@app.command()
def run(
    config: ConfigFile,
    ds: Annotated[str, typer.Option("--ds", help="Logical day, YYYY-MM-DD, or days as FIRST..LAST.")],
    overrides: Overrides = None,
    first: Annotated[str | None, typer.Option("--from", help="First stage to run.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last stage to run.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run the stages of one day on any click log, or of several days, which go on where they were cut short."""
    _run(load_config(config, overrides or []), _days(ds), first, last, as_json)


@app.command()
def report(config: ConfigFile, ds: Day, overrides: Overrides = None) -> None:
    """Rank the day's models on its test events again, and write metrics, comparisons and the HTML report anew."""
    _run(load_config(config, overrides or []), _day(ds), "evaluate", "evaluate", as_json=False)


@app.command()
def maintain(
    config: ConfigFile,
    ds: Day,
    overrides: Overrides = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be deleted, and delete nothing.")
    ] = False,
) -> None:
    """Join small files, delete days past their time, and remove files that nobody can need."""
    if not dry_run:
        _run(load_config(config, overrides or []), _day(ds), "maintain", "maintain", as_json=False)
        return
    from divspa.lake.maintain import maintain_dry_run

    with _lake_of(load_config(config, overrides or []), log_events=False) as (lake, settings):
        maintain_dry_run(lake, settings, _day(ds))


@app.command()
def publish(config: ConfigFile, ds: Day, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Make a day, as it is, the one that other teams read; also one before that which is published."""
    from divspa.pipeline import publish_now

    with _lake_of(load_config(config, overrides or []), log_events=False) as (lake, settings):
        _show_published(publish_now(lake, settings, _day(ds)), lake.root, as_json)


@app.command()
def rollback(
    config: ConfigFile,
    to: Annotated[str, typer.Option(help="A published day, YYYY-MM-DD; the one before, when left out.")] = "",
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Return to a day that was published before; nothing is made anew and nothing is deleted."""
    from divspa.pipeline import roll_back

    with _lake_of(load_config(config, overrides or []), log_events=False) as (lake, settings):
        _show_published(roll_back(lake, settings, _day(to) if to else None), lake.root, as_json)


@app.command()
def published(config: ConfigFile, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Show the published day, and the versions of all that belongs to it."""
    from divspa.lake.published import published as current

    with _lake_of(load_config(config, overrides or []), log_events=False) as (lake, _):
        _show_published(current(lake), lake.root, as_json)


@app.command()
def tables(
    out: Annotated[Path | None, typer.Option(help="Write tables.md and tables.json to this folder.")] = None,
) -> None:
    """Print the contracts of all tables; a change that a reader may notice is refused unless its version rises."""
    from divspa.lake.contracts import page, write
    from schemas import TABLES

    if out is None:
        typer.echo(page(TABLES.values()))
    else:
        write(TABLES.values(), out)


@app.command()
def forget(
    config: ConfigFile,
    user: Annotated[str, typer.Option(help="The user's id, as the click log names it.")],
    overrides: Overrides = None,
    vacuum: Annotated[bool, typer.Option("--vacuum", help="Also remove every older version of the tables.")] = False,
) -> None:
    """Take a person out of every table, report and event log of the lake; out of the click log, do that before."""
    from divspa.pipeline import forget_user

    with _lake_of(load_config(config, overrides or []), log_events=False) as (lake, settings):
        done = forget_user(lake, settings, user, vacuum_now=vacuum)
    for name, count in done.rows.items():
        console.print(f"{name}: {count} rows", highlight=False)
    for path in done.reports + done.event_logs:
        console.print(f"removed: {path}", highlight=False, soft_wrap=True, markup=False)
    for model in done.models:
        console.print(f"has learned from the rows: {model}", highlight=False, soft_wrap=True)
    if not vacuum:
        console.print("Older versions of the tables still hold the rows; --vacuum removes these", highlight=False)


@app.command()
def init(
    log: Annotated[str, typer.Argument(help="The click log: a file, a folder or a glob.")],
    items: Annotated[str | None, typer.Option(help="Attributes of items.")] = None,
    users: Annotated[str | None, typer.Option(help="Attributes of users.")] = None,
    out: Annotated[Path, typer.Option(help="The configuration to write.")] = Path("divspa.yaml"),
    lake: Annotated[str, typer.Option(help="Where the Delta tables will go.")] = "lake",
) -> None:
    """Look at a log, guess what its columns mean, and write a configuration that says why."""
    from divspa.inspection.configure import configure

    if out.exists():
        raise ConfigError(f"The file {out} is there already", remedy="give --out another name, or remove it")
    written = configure(log, items, users, lake, str(out))
    out.write_text(written.yaml)
    table = RichTable("setting", "guess", "because", title=f"What {log} seems to hold")
    for guess in written.guesses:
        table.add_row(*map(escape, guess))
    console.print(table)
    for line in (f"Written: {out}", f"Next: divspa run --config {out} --ds {written.ds}"):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


@app.command("config")
def show_config(
    check: Annotated[Path | None, typer.Option("--check", help="Say what is wrong with this file.")] = None,
    data: Annotated[bool, typer.Option("--data", help="Read headers and a sample of the inputs too.")] = False,
    ds: Annotated[str, typer.Option("--ds", help="The day to read them as of, YYYY-MM-DD; today by default.")] = "",
    functions: Annotated[bool, typer.Option("--functions", help="List what expressions may call.")] = False,
    overrides: Overrides = None,
) -> None:
    """Print a commented template, or check a configuration file."""
    if functions:
        typer.echo(files("divspa.sources").joinpath("functions.txt").read_text(), nl=False)
        return
    if check is None:
        typer.echo(files("divspa").joinpath("config_template.yaml").read_text(), nl=False)
        return
    from divspa.pipeline import require_known_names

    config = load_config(check, overrides or [])
    require_known_names(config)
    if data:
        day = _day(ds) if ds else date.today()
        with _spark_for(config, day) as spark:
            from divspa.inspection.check import check_data

            for subject, told in check_data(spark, config, day):
                typer.echo(f"{subject}: {told}")
    typer.echo(f"{check}: no problem found")


@app.command()
def inspect(
    config: ConfigFile,
    ds: Day,
    page: Annotated[Path | None, typer.Option(help="Write an HTML page with plots to this file.")] = None,
    overrides: Overrides = None,
) -> None:
    """Show the data as one looks at it before training: rows, users, items, repeats, matches, cold items."""
    loaded, day = load_config(config, overrides or []), _day(ds)
    with _spark_for(loaded, day) as spark, step("looking through the log"):
        from divspa.inspection.page import bars, facts_of, survey_page
        from divspa.inspection.survey import survey

        found = survey(spark, loaded, day)
    for name, count in found.outcomes.items():
        console.print(f"{name}: {count:,} rows", highlight=False, markup=False)
    for name, told in facts_of(found):
        console.print(f"{name}: {told}", highlight=False, markup=False)
    for name, activity in (("users", found.users), ("items", found.items)):
        table = RichTable("clicks", name, "", title=f"{name.capitalize()} by their clicks")
        for group, members, bar in bars(activity):
            table.add_row(group, f"{members:,}", bar)
        console.print(table)
    if page is not None:
        page.write_text(survey_page(found, "What the log holds", f"{loaded.clicks.path} up to {day}"))
        console.print(f"Page: {page}", highlight=False, markup=False)


@app.command()
def generate(
    out: Annotated[Path, typer.Option(help="A new folder for the log.")],
    preset: Annotated[str | None, typer.Option(help="video or vfeeds: the sizes of the paper's Table 2.")] = None,
    users: Annotated[int | None, typer.Option(min=1)] = None,
    items: Annotated[int | None, typer.Option(min=8)] = None,
    clicks: Annotated[int | None, typer.Option(min=1)] = None,
    fields: Annotated[int | None, typer.Option(min=1)] = None,
    days: Annotated[int | None, typer.Option(min=1)] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    as_json: AsJson = False,
) -> None:
    """Generate a click log with long tails, drifting interests and cold items, and a configuration that reads it."""
    sizes = {"users": users, "items": items, "clicks": clicks, "fields": fields, "days": days, "seed": seed}
    written = _generate(out, preset, {name: size for name, size in sizes.items() if size is not None})
    if as_json:
        typer.echo(json.dumps(written))
    else:
        console.print(
            f"{written['clicks']:,} clicks in {written['seconds']} s: divspa run --config {written['config']}"
        )


@app.command()
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
    own = None if config is None else DataSet(config=str(config.expanduser().resolve()), ds=_day(ds))

    shipped = _shipped(f"suites/{suite}.yaml")
    out = out.expanduser().resolve()
    loaded = load_suite(shipped if shipped.exists() else suite, out, own)
    loaded = part_of(loaded, _listed(data_sets), _listed(runs), seeds)
    with step("starting Spark"):
        from divspa.experiments import keep as kept
        from divspa.experiments.page import page as page_of
        from divspa.experiments.run import Experiment
        from divspa.lake.session import spark_session
        from divspa.lake.settings import Spark
        from divspa.lake.tables import Lake
        from schemas import EXPERIMENT_METRICS

        spark = spark_session(Spark() if config is None else load_config(config).spark)
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


@bench.command("retrieval")
def bench_retrieval(
    users: Annotated[int, typer.Option(min=1)] = 100_000,
    items: Annotated[int, typer.Option(min=1)] = 42_000,
    dim: Annotated[int, typer.Option(min=1)] = 32,
    top_k: Annotated[int, typer.Option("--top-k", min=1)] = 20,
    plan: Annotated[str, typer.Option(help="auto, broadcast, sharded or routed.")] = "auto",
    recall_floor: Annotated[float, typer.Option(min=0, max=1, help="Of a routed search and of hnswlib.")] = 0.98,
    peer: Annotated[str, typer.Option(help="Comma-separated: als, hnswlib.")] = "",
    peer_users: Annotated[
        int, typer.Option(min=0, help="ALS and hnswlib search for so many users, brought to the time of all.")
    ] = 0,
    scaling: Annotated[bool, typer.Option("--scaling", help="Compare two workers of one core with one.")] = False,
    seed: int = 17,
    as_json: AsJson = False,
) -> None:
    """Top-k search over Spark, beside FAISS by itself and, as peers, Spark's own ALS and hnswlib."""
    if plan not in ("auto", "broadcast", "sharded", "routed"):
        raise ConfigError("The option --plan is unknown", expected="auto, broadcast, sharded or routed", found=plan)
    with _measuring("retrieval", as_json) as write:
        from divspa.bench.retrieval import Asked
        from divspa.bench.retrieval import bench_retrieval as measure

        write(measure(Asked(users, items, dim, top_k, plan, recall_floor, peer_users, scaling, seed), _listed(peer)))


@bench.command("augment")
def bench_augment(
    pairs: Annotated[int, typer.Option(min=1, help="About so many positive pairs.")] = 100_000,
    users: Annotated[int, typer.Option(help="0: a tenth of the pairs.")] = 0,
    items: Annotated[int, typer.Option(help="0: a fiftieth of the pairs.")] = 0,
    dim: Annotated[int, typer.Option(min=1)] = 32,
    peer: Annotated[str, typer.Option(help="Comma-separated: in_memory.")] = "in_memory",
    seed: int = 17,
    as_json: AsJson = False,
) -> None:
    """The stage `augment`, from embeddings to the committed table, beside the same work without Spark and Delta."""
    with _measuring("augment", as_json) as write:
        from divspa.bench.augment import bench_augment as measure

        sizes = users or -(-pairs // 10), items or -(-pairs // 50)
        write(measure(pairs, *sizes, dim, _listed(peer), seed))


@bench.command("linear")
def bench_linear(
    items: Annotated[int, typer.Option(min=100)] = 42_000,
    clicks: Annotated[int, typer.Option(min=1000)] = 1_000_000,
    dense: Annotated[int, typer.Option(min=1, help="linear.max_dense_items")] = 10_000,
    seed: int = 17,
    as_json: AsJson = False,
) -> None:
    """The stage `train_linear`, from clicks to the committed table, beside EASE of numpy and scipy in one process."""
    with _measuring("linear", as_json) as write:
        from divspa.bench.linear import bench_linear as measure

        write(measure(items, clicks, min(dense, items), seed))


@bench.command("serving")
def bench_serving(
    items: Annotated[int, typer.Option(min=100)] = 420_000,
    requests: Annotated[int, typer.Option(min=100)] = 2000,
    dim: Annotated[int, typer.Option(min=1)] = 32,
    k: Annotated[int, typer.Option("--top-k", min=1)] = 100,
    seed: int = 17,
    as_json: AsJson = False,
) -> None:
    """A request to the served bundle on one core, beside FAISS by itself on the same index."""
    with _measuring("serving", as_json) as write:
        from divspa.bench.serving import bench_serving as measure

        write(measure(items, requests, dim, k, seed))


@bench.command("training")
def bench_training(
    examples: Annotated[int, typer.Option(min=1)] = 400_000,
    items: Annotated[int, typer.Option(min=1)] = 42_000,
    users: Annotated[int, typer.Option(min=1, help="Values of the field of the user's own id.")] = 100_000,
    batch_size: Annotated[int, typer.Option(min=1)] = 1024,
    model: str = "youtube_dnn",
    peer: Annotated[str, typer.Option(help="Comma-separated: torch_rechub.")] = "",
    larger: Annotated[int, typer.Option(min=0, help="Compare a step with that of so many users.")] = 0,
    seed: int = 17,
    as_json: AsJson = False,
) -> None:
    """Training through petastorm, beside the same training on tensors in memory."""
    with _measuring("training", as_json) as write:
        from divspa.bench.training import bench_training as measure

        write(measure(examples, items, users, batch_size, model, _listed(peer), larger, seed))


@bench.command("features")
def bench_features(
    clicks: Annotated[int, typer.Option(min=1000)] = 1_000_000,
    seed: int = 17,
    as_json: AsJson = False,
) -> None:
    """A generated log to `examples`, beside DuckDB on the same files."""
    with _measuring("features", as_json) as write:
        from divspa.bench.features import bench_features as measure

        write(measure(clicks, seed))


def run_job(stage: str) -> None:
    """The entry point of `jobs/STAGE.py`: run one stage with --config, --ds and --set."""

    def job(config: ConfigFile, ds: Day, overrides: Overrides = None) -> None:
        _run(load_config(config, overrides or []), _day(ds), stage, stage, as_json=False)

    job.__doc__ = f"Run the stage {stage} of one day."
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    single.command()(job)
    _with_plain_errors(single)


def main() -> None:
    """The entry point of `divspa`."""
    _with_plain_errors(app)


def _with_plain_errors(application: typer.Typer) -> None:
    """Print an error's one message and exit with 1, or 3 for a gate, which a second try does not pass.

    `--debug`, anywhere on the line, shows the stack trace instead.
    """
    debug = "--debug" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    try:
        application()
    except Exception as error:
        if debug:
            raise
        # The message may hold anything, also what rich would take for markup.
        console.print("[bold red]Error:[/]", end=" ")
        console.print(one_line(error), highlight=False, soft_wrap=True, markup=False)
        if as_divspa_error(error) is None:
            console.print("This was not foreseen; --debug shows where it happened.")
        raise SystemExit(GATE_CLOSED if isinstance(error, GateError) else 1) from None


@contextmanager
def _spark_for(config: Config, ds: date) -> Iterator[Any]:
    """A session that reads the inputs and writes nothing."""
    from divspa.lake.sizes import with_sizes

    config = with_sizes(config, [ds])
    with step("starting Spark"):
        from divspa.lake.session import spark_session

        spark = spark_session(config.spark, paths=config.paths)
    try:
        yield spark
    finally:
        spark.stop()


def _run(config: Config, days: date | list[date], first: str | None, last: str | None, as_json: bool) -> None:
    log_to_stderr()
    # Asked to end, as by Airflow or a container's host, a run gives its lease back, as with Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    several = isinstance(days, list)
    ds = days[-1] if several else days
    with _only_results_on_stdout(as_json) as write:
        started = time.perf_counter()
        from divspa.evaluation.evaluate import report_path
        from divspa.lake.sizes import with_sizes
        from divspa.pipeline import chosen_stages, run_named, stages_left
        from divspa.tuning.choice import CHOSEN, with_choice

        chosen = chosen_stages(first, last)
        with _lake_of(with_sizes(config, days if several else [ds])) as (lake, settings):
            seconds = dict.fromkeys(chosen, 0.0)
            for day in days if several else [ds]:
                names = chosen
                if several:
                    names = stages_left(lake, settings, day, chosen)
                    console.print(f"{day}: {', '.join(names) or 'done already'}", highlight=False)
                for name, took in run_named(lake, settings, day, names).items():
                    seconds[name] = round(seconds[name] + took, 2)
            summary: dict[str, Any] = {"seconds": 0.0, "lake": lake.root, "report": None, "stages": seconds}
            summary["models"] = {}
            if settings.divspa.choose == "auto" and "tune" in chosen:
                summary["chosen"] = with_choice(lake, settings, ds).divspa.model_dump(include=set(CHOSEN))
            if "evaluate" in chosen:
                figures = {"models": _metrics(lake, ds), "comparisons": _comparisons(lake, ds)}
                figures["channels"] = _channels(lake, ds)
                summary |= {"report": report_path(lake, ds), **figures}
        summary["seconds"] = round(time.perf_counter() - started, 2)
        if as_json:
            write(json.dumps(summary))
        else:
            _show(summary, config)


def _show_published(version: Any, lake: str, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(version and version.as_json()))
    elif version is None:
        console.print(f"Nothing is published in {lake}", soft_wrap=True, highlight=False, markup=False)
    else:
        for name, told in version.as_json().items():
            console.print(f"{name}: {told}", soft_wrap=True, highlight=False, markup=False)


@contextmanager
def _lake_of(config: Config, *, log_events: bool = True) -> Iterator[tuple[Any, Config]]:
    """The lake in a Spark session, which ends with the work unless that fails, and the settings with its whole path."""
    config = config.model_copy(update={"lake": _absolute(config.lake)})
    with step("starting Spark"):
        from divspa.lake.session import spark_session
        from divspa.lake.tables import Lake

        event_log = config.event_log if log_events else None
        lake = Lake(spark_session(config.spark, paths=config.paths, event_log=event_log), config.lake)
    yield lake, config
    lake.spark.stop()


def _metrics(lake: Any, ds: date) -> dict[str, dict[str, float]]:
    from schemas import METRICS

    models: dict[str, dict[str, float]] = {}
    for row in lake.read_day(METRICS, ds, slice="all").orderBy("model", "metric").collect():
        models.setdefault(row["model"], {})[row["metric"]] = row["value"]
    return models


def _comparisons(lake: Any, ds: date) -> list[dict[str, Any]]:
    from schemas import COMPARISONS

    rows = lake.read_day(COMPARISONS, ds).drop("ds").orderBy("model", "metric").collect()
    return [row.asDict() for row in rows]


def _channels(lake: Any, ds: date) -> list[dict[str, Any]]:
    from schemas import CHANNELS

    return [row.asDict() for row in lake.read_day(CHANNELS, ds).drop("ds").orderBy("channel").collect()]


def _show(summary: dict[str, Any], config: Config) -> None:
    if summary["models"]:
        _show_models(summary["models"], summary["comparisons"], config)
        for row in summary["channels"]:
            if row["published"]:
                console.print(f"Published: {row['channel']}, {row['reason']}", soft_wrap=True, highlight=False)
    report = f"   report: {summary['report']}" if summary["report"] else ""
    console.print(f"Delta tables: {summary['lake']}{report}", soft_wrap=True, highlight=False, markup=False)
    table = f"{summary['lake']}/{_read_first(list(summary['stages']))}"
    for line in (
        f"with Spark:    spark.read.format('delta').load('{table}')",
        f"without Spark: polars.read_delta('{table}')",
    ):
        console.print(f"  {line}", soft_wrap=True, highlight=False, markup=False)
    console.print(f"All done in {summary['seconds']} s.", highlight=False)


def _read_first(stages: list[str]) -> str:
    """The table that a reader of what these stages wrote begins with."""
    tables = {
        "build_features": "examples",
        "train_base": "item_embeddings",
        "maintain": "job_runs",
        "evaluate": "metrics",
    }
    return "augmented_positives" if "augment" in stages else tables.get(stages[-1], "recall_u2i")


def _show_models(models: dict[str, dict[str, float]], comparisons: list[dict[str, Any]], config: Config) -> None:
    base, ours = config.model.name, "divspa"
    shown = [name for name in ("popularity", "linear", base, ours) if name in models]
    table = RichTable(title="Ranking the whole catalogue for every test event")
    table.add_column("metric", no_wrap=True)
    for name in [*shown, "change", "95 %"]:
        table.add_column(name, justify="right")
    table.add_column("test")
    table.caption = (
        "95 %: interval of the change. Test: paired t over users, p < .05 after Holm; -: no difference shown"
    )
    tested = {row["metric"]: row for row in comparisons if row["model"] == ours}
    measured = config.evaluation
    for metric in ("hr", "ndcg", "distinct", "coverage"):
        for k in measured.ks if metric in ("hr", "ndcg") else measured.diversity_ks:
            values = [models[name][f"{metric}@{k}"] for name in shown]
            cells = [f"{value:.0f}" if metric == "distinct" else f"{value:.4f}" for value in values]
            both = base in models and ours in models and models[base][f"{metric}@{k}"]
            change = f"{models[ours][f'{metric}@{k}'] / models[base][f'{metric}@{k}'] - 1:+.1%}" if both else ""
            test = tested.get(f"{metric}@{k}")
            worth = ("", "")
            if test:
                bounds = f"{100 * test['low']:+.0f} to {100 * test['high']:+.0f}"
                worth = (bounds, test["verdict"].replace("no difference shown", "-"))
            table.add_row(f"{metric}@{k}", *cells, change, *worth)
    console.print(table)


def _complete_journey(clicks: int | None) -> tuple[Path, date, list[str]]:
    """The demo's configuration, its day and its overrides; a smaller run keeps a hashed share of the users, whole."""
    path = _shipped("complete_journey.yaml")
    if clicks is None:
        return path, date(2018, 1, 1), []
    share = min(1.0, clicks / 1_469_307)
    chosen = f"quantity > 0 AND pmod(xxhash64(household_id), 1000000) < {share * 1_000_000:.0f}"
    return path, date(2018, 1, 1), [f"clicks.positive={chosen}"]


def _synthetic_log(folder: Path, clicks: int | None) -> tuple[Path, date, list[str]]:
    written = _generate(folder / "log", None, {"clicks": clicks} if clicks else {})
    config = load_config(written["config"])
    return Path(written["config"]), _last_day(config, written["days"]), []


def _last_day(config: Config, days: int) -> date:
    from divspa.simulation.settings import GeneratorSettings

    return GeneratorSettings().start + timedelta(days=days - 1)


def _generate(out: Path, preset: str | None, sizes: dict[str, int]) -> dict[str, Any]:
    from divspa.settings import validate_section
    from divspa.simulation.generator import PRESETS, GeneratorSettings, generate

    if preset is not None and preset not in PRESETS:
        raise ConfigError("The option --preset is unknown", expected=", ".join(PRESETS), found=preset)
    base = (PRESETS[preset] if preset else GeneratorSettings()).model_dump()
    if "clicks" in sizes and "users" not in sizes:
        base["users"] = max(1, min(base["users"], sizes["clicks"] // 10))
    settings = validate_section(GeneratorSettings, base | sizes, "generate")
    with step("generating clicks", settings.clicks) as advance:
        return generate(settings, out, advance)


def _shipped(name: str) -> Path:
    """A file of `conf/`: of the checkout, or else of the installed package."""
    checkout = Path(__file__).parent.parent / "conf" / name
    return checkout if checkout.exists() else Path(sys.prefix) / "share" / "divspa" / "conf" / name


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigError("The option --ds is not a day", expected="YYYY-MM-DD", found=text) from None


def _days(text: str) -> date | list[date]:
    """A day, or the days of FIRST..LAST, both included."""
    first, dots, last = text.partition("..")
    if not dots:
        return _day(text)
    start, end = _day(first), _day(last)
    if end < start:
        raise ConfigError("The option --ds ends before it begins", expected="FIRST..LAST", found=text)
    return [start + timedelta(days=n) for n in range((end - start).days + 1)]


def _absolute(lake: str) -> str:
    return lake if "://" in lake else str(Path(lake).expanduser().resolve())


def _listed(names: str) -> list[str]:
    return [name for name in names.split(",") if name]


@contextmanager
def _measuring(name: str, as_json: bool) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Run a benchmark, whose result alone goes to stdout: on one line, or indented to be read."""
    with _only_results_on_stdout(True) as write, step(f"bench {name}"):
        yield lambda result: write(json.dumps(result, indent=None if as_json else 2))


@contextmanager
def _only_results_on_stdout(active: bool) -> Iterator[Any]:
    """Send whatever libraries and the JVM print on stdout to stderr, so that stdout holds the result alone."""
    if not active:
        yield typer.echo
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield lambda text: os.write(kept, (text + "\n").encode())
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
