"""What a Spark session keeps to its own machine and user: ports, temporary files, secrets in its event log."""

import os
import tempfile
from collections.abc import Callable

from divspa.scratch import scratch

LOOPBACK = "127.0.0.1"
# Of Spark's own pattern and what its connectors and AWS call theirs; keys of options, properties and the environment.
HIDDEN_KEYS = "(?i)secret|passw|token|credential|access[._-]?key|api[._-]?key|private[._-]?key|account[._-]?key|sas[._]"
# In texts, such as a plan or a command: who somebody is in a URL, `password=…` of any spelling, and AWS's key ids.
# Every plan is searched, so the one character before comes first: most places fail by it.
HIDDEN_TEXTS = (
    r"(?i)(?<=[/=:])(?:(?<=://)[^/@\s'\"]+(?=@)|(?<=(?:secret|passwd|password|token)[=:])[^\s,;&'\"]+)"
    r"|\bA[KS]IA[0-9A-Z]{16}\b"
)


def is_local(master: str) -> bool:
    """Whether all of Spark runs on this machine."""
    return master.startswith("local")


def redaction() -> dict[str, str]:
    """What Spark leaves out of its event log and UI."""
    return {"spark.redaction.regex": HIDDEN_KEYS, "spark.redaction.string.regex": HIDDEN_TEXTS}


def file_modes() -> dict[str, str]:
    """Files with the umask of this process; Hadoop has one of its own."""
    mask = os.umask(0o077)
    os.umask(mask)
    return {"spark.hadoop.fs.permissions.umask-mode": f"{mask:03o}"}


def on_loopback(master: str, given: Callable[[str], object]) -> dict[str, str]:
    """On a local master driver and block manager listen on loopback, unless an option or the environment says where."""
    if not is_local(master) or "SPARK_LOCAL_IP" in os.environ:
        return {}
    options = ("spark.driver.host", "spark.driver.bindAddress")
    return {option: LOOPBACK for option in options if not given(option)}


def before_java(master: str) -> dict[str, str]:
    """What has to be settled before the JVM starts: on a local master the UI on loopback, temporary files private."""
    if not is_local(master):
        return {}
    os.environ.setdefault("SPARK_LOCAL_IP", LOOPBACK)
    folder = str(scratch())
    tempfile.tempdir = os.environ["TMPDIR"] = folder
    return {"spark.driver.defaultJavaOptions": f"-Djava.io.tmpdir={folder}", "spark.local.dir": folder}
