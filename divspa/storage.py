"""Small files of any file system that Arrow knows: a local path, `s3://` or `s3a://`."""

from pathlib import PurePosixPath

from pyarrow import fs


def write_file(path: str, content: bytes) -> None:
    """Write a file whole or not at all, with its folders."""
    system, file = locate(path)
    system.create_dir(str(PurePosixPath(file).parent), recursive=True)
    with system.open_output_stream(f"{file}.part") as out:
        out.write(content)
    system.move(f"{file}.part", file)


def read_file(path: str) -> bytes:
    """Read a file. Raises FileNotFoundError."""
    system, file = locate(path)
    with system.open_input_stream(file) as source:
        return source.read()


def remove_folder(path: str) -> None:
    """Remove a folder and all in it; it need not be there."""
    system, folder = locate(path)
    if system.get_file_info(folder).type != fs.FileType.NotFound:
        system.delete_dir(folder)


def locate(url: str) -> tuple[fs.FileSystem, str]:
    """The Arrow file system of a URL or path, and the path in it."""
    return fs.FileSystem.from_uri(url.replace("s3a://", "s3://", 1))
