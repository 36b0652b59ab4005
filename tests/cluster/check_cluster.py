"""The whole pipeline on a real Spark standalone cluster, and again with a worker killed in the middle of a stage.

    .venv/bin/python tests/cluster/check_cluster.py

A master and two workers run as processes of their own, as root in network namespaces of their own; the driver runs
here, in client mode. Takes about 6 minutes on two cores and 5 GB of memory, Java, and root with iproute2 for the
namespaces. Prints one line a check, and fails with the logs' folder.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from hosts import Host, hosts, kill_session

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from describe_lake import describe  # noqa: E402

BIN = ROOT / ".venv" / "bin"
DAY = "2024-01-14"
STAGES = [
    "build_features",
    "train_base",
    "train_linear",
    "tune",
    "augment",
    "train_divspa",
    "evaluate",
    "refit",
    "export_recall",
    "publish",
]
MASTER, WORKERS = "divspa-m", ["divspa-w1", "divspa-w2"]
LOG = ["--users", "400", "--items", "200", "--clicks", "6000"]
SETS = ["training.epochs=1", "spark.partitions=2"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | {
    "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"
}


class Cluster:
    """The processes of a standalone cluster and the folder of their logs."""

    def __init__(self, driver: Host, members: dict[str, Host], folder: Path) -> None:
        self.driver, self.members, self.folder = driver, members, folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        address = members[MASTER].address
        self.url = f"spark://{address}:7077"
        self._start(MASTER, "master.Master", ["--host", address, "--port", "7077", "--webui-port", "8080"])
        for at, name in enumerate(WORKERS):
            sizes = ["--cores", "1", "--memory", "1500M", "--work-dir", str(folder / name)]
            ports = ["--host", members[name].address, "--webui-port", str(8081 + at)]
            self._start(name, "worker.Worker", [*sizes, *ports, self.url])
        self.page = f"http://{address}:8080/json"
        wait("both workers at the master", 60, lambda: read(self.page)["aliveworkers"] == 2)

    def _start(self, name: str, kind: str, arguments: list[str]) -> None:
        command = [str(BIN / "spark-class"), f"org.apache.spark.deploy.{kind}", *arguments]
        environment = ENVIRONMENT | {"SPARK_DAEMON_MEMORY": "256m"}
        self.running[name] = self.members[name].start(command, self.folder / f"{name}.log", environment)

    def submit(self, stage: str, config: Path, *sets: str) -> subprocess.Popen[bytes]:
        """spark-submit of one stage in client mode, as the README gives it."""
        conf = {
            "spark.driver.host": self.driver.address,
            "spark.driver.bindAddress": self.driver.address,
            "spark.executor.memory": "1g",
            # Stages this short end before the JVM's second compiler has paid for itself.
            "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",
            "spark.executor.extraJavaOptions": "-XX:TieredStopAtLevel=1",
            "spark.ui.enabled": "true",
            "spark.ui.port": "4040",
        }
        options = [part for key, value in conf.items() for part in ("--conf", f"{key}={value}")]
        job = [f"{ROOT}/jobs/{stage}.py", "--config", str(config), "--ds", DAY]
        job += [part for setting in (*SETS, *sets) for part in ("--set", setting)]
        command = [str(BIN / "spark-submit"), "--master", self.url, "--driver-memory", "1g", *options, *job]
        self.running[stage] = self.driver.start(command, self.folder / f"{stage}.log", ENVIRONMENT)
        return self.running[stage]

    def kill_worker(self, name: str) -> int:
        """The end of a machine: the worker, its executors and their Python processes are gone at once."""
        return kill_session(self.running.pop(name).pid)

    def stop(self) -> None:
        for process in self.running.values():
            kill_session(process.pid)


def wait(what: str, seconds: float, ready: Callable[[], Any]) -> Any:
    """Poll until `ready` returns something true; a page that does not answer yet is not ready."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        try:
            if found := ready():
                return found
        except (OSError, json.JSONDecodeError):
            pass
        time.sleep(0.1)
    raise TimeoutError(f"Waited {seconds:.0f} s for {what}")


def read(url: str) -> Any:
    with urlopen(url, timeout=5) as answer:
        return json.load(answer)


def finish(stage: str, process: subprocess.Popen[bytes], started: float, what: str) -> None:
    if process.wait(timeout=500) != 0:
        raise RuntimeError(f"{stage} ended with {process.returncode}")
    print(f"ok: {stage} {what} in {time.monotonic() - started:.0f} s", flush=True)


def busy(cluster: Cluster, name: str) -> dict[str, Any] | None:
    """The executor of a worker that has finished tasks, whose shuffle files it holds, and runs more just now."""
    pages = f"http://{cluster.driver.address}:4040/api/v1/applications"
    for application in read(pages):
        for executor in read(f"{pages}/{application['id']}/executors"):
            there = executor["hostPort"].startswith(f"{cluster.members[name].address}:")
            if there and executor["completedTasks"] >= 10 and executor["activeTasks"] > 0:
                return executor
    return None


def whole_pipeline(cluster: Cluster, config: Path) -> None:
    """Every stage; both trainings run in two processes, one on each worker."""
    for stage in STAGES:
        started = time.monotonic()
        finish(stage, cluster.submit(stage, config, "training.processes=2"), started, "on the cluster")
    for stage in ("train_base", "train_divspa"):
        log = (cluster.folder / f"{stage}.log").read_text()
        if "Started distributed training with 2 executor processes" not in log:
            raise RuntimeError(f"{stage} did not train in two processes of the executors")
    print("ok: both trainings ran as barrier stages of two processes", flush=True)


def augment_with_a_killed_worker(cluster: Cluster, config: Path, lake: Path) -> None:
    """The stage ends on the worker that is left, with the table that both wrote."""
    before = describe(f"{lake}/augmented_positives")
    victim, started = WORKERS[1], time.monotonic()
    # More partitions change no row, and give the stage a middle in which to be hit.
    process = cluster.submit("augment", config, "spark.partitions=8")
    executor = wait(f"tasks on {victim}", 120, lambda: busy(cluster, victim))
    killed = cluster.kill_worker(victim)
    held = f"{executor['completedTasks']} tasks done and {executor['activeTasks']} running"
    print(f"ok: killed {victim} with its executor, {killed} processes, after {held}", flush=True)
    finish("augment", process, started, "with one worker killed")
    if "Lost executor" not in (cluster.folder / "augment.log").read_text() or read(cluster.page)["aliveworkers"] != 1:
        raise RuntimeError("The stage or the master did not notice that a worker was killed")
    after = describe(f"{lake}/augmented_positives")
    if after["version"] <= before["version"] or after["days"] != before["days"]:
        raise RuntimeError(f"augmented_positives differs: {before} became {after}")
    print(f"ok: augmented_positives was written again and is identical: {after['days'][DAY]}")


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("failed: ended from outside"))
    folder = Path(tempfile.mkdtemp(prefix="divspa-cluster-"))
    config, lake = folder / "log" / "divspa.yaml", folder / "log" / "lake"
    subprocess.run([BIN / "divspa", "generate", "--out", folder / "log", *LOG], check=True, env=ENVIRONMENT)
    with hosts([MASTER, *WORKERS]) as (driver, members):
        where = "network namespaces" if members[MASTER].isolated else "plain processes, as namespaces were refused"
        cluster = Cluster(driver, members, folder)
        try:
            print(f"ok: a master and two workers in {where}: {cluster.url}", flush=True)
            whole_pipeline(cluster, config)
            augment_with_a_killed_worker(cluster, config, lake)
        except (RuntimeError, TimeoutError, subprocess.TimeoutExpired) as error:
            sys.exit(f"failed: {error}; logs are in {folder}")
        finally:
            cluster.stop()
    print("ok: the cluster has ended")


if __name__ == "__main__":
    main()
