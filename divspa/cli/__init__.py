"""The command line: parse, build, run. The jobs in `jobs/` call `run_job` with the same options."""

from divspa.cli.app import main, run_job

__all__ = ["main", "run_job"]
