"""A throw-away Airflow on SQLite, and a spark-submit that records its arguments, for the checks of the DAG."""

import atexit
import functools
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
AIRFLOW = Path(sys.executable).with_name("airflow")

RECORDER = """#!{python}
import json, os, sys
from pathlib import Path
stage = Path([a for a in sys.argv if a.endswith(".py")][-1]).stem
with Path({calls!r}).open("a") as file:
    file.write(json.dumps([stage, sys.argv[1:]]) + "\\n")
print("refused" if stage == {fails!r} else "done")
sys.exit(stage == {fails!r})
"""


@dataclass(frozen=True)
class Airflow:
    """One AIRFLOW_HOME with its own database; settings are handed over as Airflow itself reads them."""

    home: Path
    path: str
    variable: dict[str, object]
    connections: dict[str, dict[str, object]]
    more: dict[str, str]

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "JAVA_HOME", "TMPDIR") if name in os.environ}
        connections = {"fs_default": {"conn_type": "fs"}} | self.connections
        return (
            kept
            | {
                "PATH": self.path,
                "AIRFLOW_HOME": str(self.home),
                "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "airflow_dags"),
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.home}/airflow.db",
                "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
                "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "true",
                "AIRFLOW_VAR_DIVSPA_DAILY": json.dumps(self.variable),
            }
            | {f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in connections.items()}
            | self.more
        )

    def run(self, *arguments: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        """`airflow ARGUMENTS`, with its output captured in one text."""
        return subprocess.run(
            [str(AIRFLOW), *arguments],
            env=self.environment,
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )

    @contextmanager
    def daemons(self) -> Iterator[None]:
        """The scheduler and what it needs: the DAG processor and the API server that its tasks talk to."""
        started = [self._start(name) for name in ("api-server", "dag-processor", "scheduler")]
        try:
            yield
        finally:
            for process in started:
                os.killpg(process.pid, signal.SIGTERM)
            for process in started:
                process.wait(timeout=60)

    def _start(self, name: str) -> subprocess.Popen[str]:
        """A daemon in a process group of its own, which takes its children along when it is ended."""
        with (self.home / f"{name}.log").open("w") as log:
            return subprocess.Popen(
                [str(AIRFLOW), name],
                env=self.environment,
                cwd=self.home,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )


def airflow(
    home: Path,
    path: str,
    variable: dict[str, object],
    connections: dict[str, dict[str, object]] | None = None,
    more: dict[str, str] | None = None,
) -> Airflow:
    """Make the home, with a fresh database in it."""
    home.mkdir(parents=True)
    shutil.copy(_empty_database(), home / "airflow.db")
    return Airflow(home, path, variable, connections or {}, more or {})


@functools.cache
def _empty_database() -> Path:
    """A migrated database, made once a session because migrating takes longer than most checks."""
    home = Path(tempfile.mkdtemp(prefix="airflow-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    migrated = Airflow(home, os.environ["PATH"], {}, {}, {}).run("db", "migrate")
    assert migrated.returncode == 0, migrated.stdout
    return home / "airflow.db"


def recorder(folder: Path, fails: str = "") -> tuple[Path, Path]:
    """A folder with a `spark-submit` that appends [stage, arguments] to a file, and that file."""
    folder.mkdir(parents=True)
    calls = folder / "calls.jsonl"
    script = folder / "spark-submit"
    script.write_text(RECORDER.format(python=sys.executable, calls=str(calls), fails=fails))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return folder, calls


def recorded(calls: Path) -> dict[str, list[str]]:
    """Arguments by stage, in the order of the calls; a stage that was called twice fails the check."""
    lines = [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []
    assert len({stage for stage, _ in lines}) == len(lines), lines
    return dict(lines)
