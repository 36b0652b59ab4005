"""Commands about a log and its configuration: init, config, inspect, generate."""

import json
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table as RichTable

from divspa.cli.options import AsJson, ConfigFile, Day, Overrides, day_of, session_for
from divspa.config import Config, load_config
from divspa.errors import ConfigError
from divspa.progress import console, step


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
        check_inputs(config, day_of(ds) if ds else date.today())
    typer.echo(f"{check}: no problem found")


def check_inputs(config: Config, ds: date) -> None:
    """Print what headers and a sample of the inputs hold. Raises InputError and ConfigError as a run would."""
    with session_for(config, ds) as spark:
        from divspa.inspection.check import check_data

        for subject, told in check_data(spark, config, ds):
            typer.echo(f"{subject}: {told}")


def inspect(
    config: ConfigFile,
    ds: Day,
    page: Annotated[Path | None, typer.Option(help="Write an HTML page with plots to this file.")] = None,
    overrides: Overrides = None,
) -> None:
    """Show the data as one looks at it before training: rows, users, items, repeats, matches, cold items."""
    loaded, day = load_config(config, overrides or []), day_of(ds)
    with session_for(loaded, day) as spark, step("looking through the log"):
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
    written = generated_log(out, preset, {name: size for name, size in sizes.items() if size is not None})
    if as_json:
        typer.echo(json.dumps(written))
    else:
        console.print(
            f"{written['clicks']:,} clicks in {written['seconds']} s: divspa run --config {written['config']}"
        )


def generated_log(out: Path, preset: str | None, sizes: dict[str, int]) -> dict[str, Any]:
    """Write a generated log of a preset with some sizes in place of its own, and say where it lies."""
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
