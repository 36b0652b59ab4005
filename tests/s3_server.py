"""An S3 server in the process of the tests (moto), with one bucket."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import boto3
import pytest
from moto.server import ThreadedMotoServer

SECRET = "testing-secret-that-is-nowhere-else"


@contextmanager
def s3_server() -> Iterator[str]:
    """The URL of the bucket; where the server is and whose it is stand in the environment meanwhile."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
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
        yield "s3a://bucket"
    server.stop()
