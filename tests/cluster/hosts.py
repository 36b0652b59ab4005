"""Hosts for a cluster on one machine: a network namespace each, with an address and a host name of its own.

Where namespaces are refused (no root, a locked container), every host is this one and processes share its loopback.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BRIDGE = "divspa-br"
NETWORK = "10.77.0"
# `ip netns exec` gives each process its own network; the host name needs a namespace too, because gloo looks it up.
NAMED = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"']


@dataclass(frozen=True)
class Host:
    """A machine of the cluster, as far as its processes can tell."""

    name: str
    address: str
    isolated: bool

    def start(self, command: list[str], log: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        """Start a process on this host, in a session of its own that all its children stay in."""
        inside = ["ip", "netns", "exec", self.name, *NAMED, self.name] if self.isolated else []
        local = {"SPARK_LOCAL_IP": self.address}
        with log.open("wb") as out:
            return subprocess.Popen(
                [*inside, *command], env=environment | local, stdout=out, stderr=out, start_new_session=True
            )


def kill_session(leader: int) -> int:
    """Kill a process that `Host.start` started with all its children, at once, and say how many these were."""
    listed = subprocess.run(["ps", "-o", "pid=", "--sid", str(leader)], capture_output=True, text=True, check=False)
    killed = 0
    for pid in map(int, listed.stdout.split()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            killed += 1
    return killed


@contextlib.contextmanager
def hosts(names: list[str]) -> Iterator[tuple[Host, dict[str, Host]]]:
    """The driver's host, which is this machine, and the named hosts, joined by a bridge that ends with the context."""
    try:
        _make(names)
    except (subprocess.CalledProcessError, FileNotFoundError):
        _remove(names)
        here = Host("localhost", "127.0.0.1", isolated=False)
        yield here, dict.fromkeys(names, here)
        return
    try:
        made = {name: Host(name, _address(at), isolated=True) for at, name in enumerate(names, 2)}
        yield Host("driver", _address(1), isolated=False), made
    finally:
        _remove(names)


def _make(names: list[str]) -> None:
    _ip("link", "add", BRIDGE, "type", "bridge")
    _ip("address", "add", f"{_address(1)}/24", "dev", BRIDGE)
    _ip("link", "set", BRIDGE, "up")
    known = "".join(f"{_address(at)} {name}\n" for at, name in enumerate(["driver", *names], 1))
    for at, name in enumerate(names, 2):
        _ip("netns", "add", name)
        _ip("link", "add", f"{name}-br", "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("link", "set", f"{name}-br", "master", BRIDGE, "up")
        _ip("-n", name, "address", "add", f"{_address(at)}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", name, "link", "set", device, "up")
        # `ip netns exec` shows its processes this file as /etc/hosts.
        etc = Path("/etc/netns", name)
        etc.mkdir(parents=True, exist_ok=True)
        (etc / "hosts").write_text(f"127.0.0.1 localhost\n{known}")


def _remove(names: list[str]) -> None:
    """Remove what was made, as far as it was."""
    for name in names:
        _ip("netns", "delete", name, check=False)
        with contextlib.suppress(OSError):
            Path("/etc/netns", name, "hosts").unlink()
            Path("/etc/netns", name).rmdir()
    _ip("link", "delete", BRIDGE, check=False)


def _address(at: int) -> str:
    return f"{NETWORK}.{at}"


def _ip(*arguments: str, check: bool = True) -> None:
    with contextlib.suppress(*(() if check else (FileNotFoundError,))):
        subprocess.run(["ip", *arguments], check=check, capture_output=True)
