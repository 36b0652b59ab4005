"""The command line put together, and how it ends."""

import sys

import typer

from divspa.cli import benches, data, days, experiments, publication
from divspa.cli.options import ConfigFile, Day, Overrides, day_of
from divspa.config import load_config
from divspa.errors import GateError, as_divspa_error, one_line
from divspa.progress import console

GATE_CLOSED = 3
COMMANDS = {
    "demo": days.demo,
    "run": days.run,
    "report": days.report,
    "maintain": days.maintain,
    "runs": publication.runs,
    "profile": publication.profile,
    "publish": publication.publish,
    "rollback": publication.rollback,
    "published": publication.published,
    "tables": publication.tables,
    "forget": days.forget,
    "init": data.init,
    "config": data.show_config,
    "inspect": data.inspect,
    "generate": data.generate,
    "experiment": experiments.experiment,
}
BENCHES = {
    "retrieval": benches.bench_retrieval,
    "augment": benches.bench_augment,
    "linear": benches.bench_linear,
    "serving": benches.bench_serving,
    "training": benches.bench_training,
    "features": benches.bench_features,
    "scale": benches.bench_scale,
}


def divspa() -> typer.Typer:
    """All commands of `divspa`."""
    app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="Diversified candidate generation.")
    bench = typer.Typer(no_args_is_help=True, help="Measure a hot path against its reference, in one run.")
    for whole, commands in ((app, COMMANDS), (bench, BENCHES)):
        for name, command in commands.items():
            whole.command(name)(command)
    app.add_typer(bench, name="bench")
    return app


def main() -> None:
    """The entry point of `divspa`."""
    with_plain_errors(divspa())


def run_job(stage: str) -> None:
    """The entry point of `jobs/STAGE.py`: run one stage with --config, --ds and --set."""

    def job(config: ConfigFile, ds: Day, overrides: Overrides = None) -> None:
        days.run_days(load_config(config, overrides or []), day_of(ds), stage, stage, as_json=False)

    job.__doc__ = f"Run the stage {stage} of one day."
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    single.command()(job)
    with_plain_errors(single)


def with_plain_errors(application: typer.Typer) -> None:
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
        # Not at the top: it loads Spark, which most commands, and all that are mistyped, do without.
        from divspa.lake.damage import as_damage

        error = as_damage(error) or error
        # The message may hold anything, also what rich would take for markup.
        console.print("[bold red]Error:[/]", end=" ")
        console.print(one_line(error), highlight=False, soft_wrap=True, markup=False)
        if as_divspa_error(error) is None:
            console.print("This was not foreseen; --debug shows where it happened.")
        raise SystemExit(GATE_CLOSED if isinstance(error, GateError) else 1) from None
