"""Files of any file system that Arrow knows: a local path, `s3a://` or `s3://`; and where S3 is, for Spark too.

Credentials are never settings: Arrow and hadoop-aws take them from the environment or AWS's chain of providers.
"""

import os
import re
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path, PurePosixPath

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


@dataclass(frozen=True)
class Entry:
    """A file or folder: its name within the folder that was listed, its bytes and when it was written, where known."""

    name: str
    is_file: bool
    size: int | None
    written: datetime | None


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


def size_of(path: str) -> int | None:
    """The bytes of a file; None where there is none."""
    system, file = locate(path)
    return system.get_file_info(file).size


def make_folder(path: str) -> None:
    """Make a folder that may be there already; on S3 its bucket has to be there. Raises OSError."""
    system, folder = locate(path)
    system.create_dir(folder, recursive=True)


def remove(path: str) -> None:
    """Remove a file, or a folder and all in it; it need not be there."""
    system, name = locate(path)
    kind = system.get_file_info(name).type
    if kind == fs.FileType.Directory:
        system.delete_dir(name)
    elif kind != fs.FileType.NotFound:
        system.delete_file(name)


def listed(path: str, *, recursive: bool = False) -> list[Entry]:
    """What lies in a folder, or also below it; nothing where there is no folder."""
    system, folder = locate(path)
    found = system.get_file_info(fs.FileSelector(folder, allow_not_found=True, recursive=recursive))
    start = len(folder.rstrip("/")) + 1
    return [Entry(info.path[start:], info.is_file, info.size, info.mtime) for info in found]


def locate(url: str) -> tuple[fs.FileSystem, str]:
    """The Arrow file system of a URL or path, also one of the working folder, and the path in it."""
    if not is_s3(url):
        has_scheme = re.match("[a-z][a-z0-9+.-]*:", url)
        return fs.FileSystem.from_uri(url if has_scheme else str(Path(url).absolute()))
    path = re.sub("^s3a?://", "", url)
    return _s3_files(S3.of_environment(), path.partition("/")[0]), path


@cache
def _s3_files(s3: S3, bucket: str) -> fs.S3FileSystem:
    if s3.endpoint:
        scheme, _, host = s3.endpoint.rstrip("/").rpartition("://")
        return fs.S3FileSystem(endpoint_override=host, scheme=scheme or "https", region=s3.region)
    return fs.S3FileSystem(region=s3.region or fs.resolve_s3_region(bucket))
