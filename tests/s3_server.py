"""An S3 server in the process of the tests (moto), with one bucket, that can be made to falter."""

import logging
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

SECRET = "testing-secret-that-is-nowhere-else"
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
FAULTS = ("late", "503", "hangs up before", "hangs up after")


class Faltering:
    """An application that answers some requests late, with 503, or by hanging up before or after it has obeyed."""

    def __init__(
        self, application: Callable[..., Iterable[bytes]], share: float, seconds: float, seed: int = 17
    ) -> None:
        self.application, self.share, self.seconds = application, share, seconds
        self.dice, self.lock = random.Random(17), threading.Lock()
        self.counts: Counter[str] = Counter()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with self.lock:
            fault = self.dice.choice(FAULTS) if self.dice.random() < self.share else "none"
            self.counts[fault] += 1
        if fault == "late":
            time.sleep(self.seconds)
        if fault == "503":
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response("503 Slow Down", [("Content-Type", "application/xml")])
            return [SLOW_DOWN]
        if fault == "hangs up after":
            b"".join(self.application(environ, lambda *told: None))
        if fault.startswith("hangs up"):
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionError("cut on purpose")
        return self.application(environ, start_response)


@contextmanager
def s3_server() -> Iterator[ThreadedMotoServer]:
    """A server with the bucket s3a://bucket; where it is and whose stand in the environment meanwhile."""
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "testing-key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        boto3.client("s3").create_bucket(Bucket="bucket")
        yield server
    server.stop()


@contextmanager
def faltering(server: ThreadedMotoServer, share: float, seconds: float) -> Iterator[Counter[str]]:
    """A share of the requests go wrong meanwhile; yields how often each fault was met."""
    serving: Any = server._server
    sound = serving.app
    serving.app = broken = Faltering(sound, share, seconds)
    try:
        yield broken.counts
    finally:
        serving.app = sound
