"""What a session on one machine shows to others: no port, no file that the umask closes, no secret in the event log."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

SECRET = "hunter2-of-the-lake"
SESSION = """
import os, sys
from divspa.lake.session import spark_session
from divspa.lake.settings import Spark
os.umask(0o077)
root = sys.argv[1]
spark = spark_session(Spark(master="local[2]", driver_memory="1g", partitions=2), event_log=f"{root}/event_logs")
spark.range(4).repartition(3).write.format("delta").save(f"{root}/table")
print(spark._jvm.java.lang.ProcessHandle.current().pid(), flush=True)
input()
"""


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, subprocess.Popen[str], int]]:
    """The lake and the process of a session, and its Java's number."""
    root = tmp_path_factory.mktemp("lake")
    keys = ("spark.hadoop.fs.s3a.secret.key", "spark.hadoop.fs.s3a.access.key", "spark.my.api-key", "spark.my.passwd")
    submit = " ".join([*(f"--conf {key}={SECRET}" for key in keys), "pyspark-shell"])
    environment = os.environ | {"PYSPARK_SUBMIT_ARGS": submit, "AWS_SECRET_ACCESS_KEY": SECRET, "TMPDIR": str(root)}
    command = [sys.executable, "-c", SESSION, str(root)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    java = int(process.stdout.readline())
    yield root, process, java
    process.kill()
    process.communicate()


def listening(process: int) -> set[str]:
    """The addresses at which a process listens, as the kernel writes them."""
    sockets = {str(file.readlink()) for file in Path(f"/proc/{process}/fd").iterdir() if file.is_symlink()}
    numbers = {found[1] for text in sockets if (found := re.fullmatch(r"socket:\[(\d+)\]", text))}
    lines = [
        line.split() for kind in ("tcp", "tcp6") for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]
    ]
    return {line[1].partition(":")[0] for line in lines if line[3] == "0A" and line[9] in numbers}


def test_ui_block_manager_and_driver_listen_on_loopback_alone(session) -> None:
    _, process, java = session
    found = listening(java) | listening(process.pid)
    loopback = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    assert found and found <= loopback


def test_files_of_the_lake_have_the_umask_and_temporary_ones_are_private(session) -> None:
    root, _, _ = session
    table = list((root / "table").rglob("*"))
    assert len(table) > 5 and not any(file.stat().st_mode & 0o077 for file in table)
    (place,) = root.glob("divspa-*")
    assert place.stat().st_mode & 0o777 == 0o700 and any(place.rglob("blockmgr-*"))


def test_no_secret_is_in_the_event_log(session) -> None:
    root, _, _ = session
    (log,) = (root / "event_logs").rglob("events_*")
    with pa.CompressedInputStream(pa.OSFile(str(log)), "zstd") as stream:
        chunks = []
        try:
            while chunk := stream.read(1 << 16):
                chunks.append(chunk)
        except OSError:
            pass  # the session still writes its last frame
    text = b"".join(chunks).decode()
    assert "spark.hadoop.fs.s3a.secret.key" in text and "Delta" in text
    assert SECRET not in text


def test_a_killed_driver_takes_its_java_along_and_its_files_go_with_the_next_run(session) -> None:
    root, process, java = session
    process.send_signal(signal.SIGKILL)
    process.wait()
    end = time.monotonic() + 20
    while Path(f"/proc/{java}").exists() and time.monotonic() < end:
        time.sleep(0.1)
    assert not Path(f"/proc/{java}").exists()
    next_run = [sys.executable, "-c", "from divspa.scratch import scratch; scratch()"]
    subprocess.run(next_run, env=os.environ | {"TMPDIR": str(root)}, check=True)
    (place,) = root.glob("divspa-*")
    assert list(place.iterdir()) == []
