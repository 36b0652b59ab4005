"""Files of any file system that Arrow knows: a local path, `s3a://` or `s3://`; and where S3 is, for Spark too.

Credentials are never settings: Arrow and hadoop-aws take them from the environment or AWS's chain of providers.
"""

import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath

from pyarrow import fs


@dataclass(frozen=True)
class S3:
    """An S3 service: AWS's own or, where an endpoint is given, one whose buckets are named in the path of a URL."""

    endpoint: str | None
    region: str | None

    @classmethod
    def of_environment(cls) -> "S3":
        """AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, and AWS_REGION or AWS_DEFAULT_REGION."""
        named = os.environ.get
        return cls(
            named("AWS_ENDPOINT_URL_S3") or named("AWS_ENDPOINT_URL"),
            named("AWS_REGION") or named("AWS_DEFAULT_REGION"),
        )


def is_s3(url: str) -> bool:
    """Whether a URL is of an S3 service."""
    return url.startswith(("s3a://", "s3://"))


def write_file(path: str, content: bytes) -> None:
    """Write a file whole or not at all, with its folders."""
    system, file = locate(path)
    # An object of S3 appears when it is complete; there a move would be a copy, and folders are only names.
    whole = isinstance(system, fs.S3FileSystem)
    if not whole:
        system.create_dir(str(PurePosixPath(file).parent), recursive=True)
    with system.open_output_stream(file if whole else f"{file}.part") as out:
        out.write(content)
    if not whole:
        system.move(f"{file}.part", file)


def read_file(path: str) -> bytes:
    """Read a file. Raises FileNotFoundError."""
    system, file = locate(path)
    with system.open_input_stream(file) as source:
        return source.read()


def make_folder(path: str) -> None:
    """Make a folder that may be there already; on S3 its bucket has to be there. Raises OSError."""
    system, folder = locate(path)
    system.create_dir(folder, recursive=True)


def remove_folder(path: str) -> None:
    """Remove a folder and all in it; it need not be there."""
    system, folder = locate(path)
    if system.get_file_info(folder).type != fs.FileType.NotFound:
        system.delete_dir(folder)


def locate(url: str) -> tuple[fs.FileSystem, str]:
    """The Arrow file system of a URL or path, and the path in it."""
    if not is_s3(url):
        return fs.FileSystem.from_uri(url)
    path = re.sub("^s3a?://", "", url)
    return _s3_files(S3.of_environment(), path.partition("/")[0]), path


@cache
def _s3_files(s3: S3, bucket: str) -> fs.S3FileSystem:
    if s3.endpoint:
        scheme, _, host = s3.endpoint.rstrip("/").rpartition("://")
        return fs.S3FileSystem(endpoint_override=host, scheme=scheme or "https", region=s3.region)
    return fs.S3FileSystem(region=s3.region or fs.resolve_s3_region(bucket))
