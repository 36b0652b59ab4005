"""Peers that cannot live in our environment: each gets one of its own, and a script that its Python runs."""

import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

from divspa.errors import ConfigError

CACHE = Path.home() / ".cache" / "divspa" / "peers"


def peer_python(name: str, packages: list[str]) -> str:
    """The interpreter of a peer's environment, which is made on first use. Raises ConfigError without uv."""
    uv = shutil.which("uv")
    if uv is None:
        raise ConfigError(f"The peer {name} needs an environment of its own, made by uv", remedy="pip install uv")
    python = CACHE / name / "bin" / "python"
    _run([uv, "venv", "--quiet", "--allow-existing", "--python", "3.11", str(CACHE / name)])
    _run([uv, "pip", "install", "--quiet", "--python", str(python), *packages])
    return str(python)


def our_version(package: str) -> str:
    """The requirement that gives a peer the same version of a package as ours, less its build."""
    return f"{package}=={version(package).partition('+')[0]}"


def run_peer(python: str, script: str, *arguments: object) -> str:
    """Run a script of this folder, and return the line that it prints last."""
    return _run([python, str(Path(__file__).parent / script), *map(str, arguments)]).splitlines()[-1]


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise ConfigError(f"The command {' '.join(command)} failed", found=done.stderr.strip()[-500:])
    return done.stdout
