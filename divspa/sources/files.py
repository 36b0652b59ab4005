"""What lies under the path of an input: its files of data, and by name all that is left out."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from pyarrow import fs

from divspa.errors import InputError, one_line
from divspa.storage import locate

# What Spark, Hadoop and editors leave beside data.
HIDDEN = re.compile(r"^(?:\.|_(?!.*=))")
PARTITION = re.compile(r"^([^=]+)=(.*)$")
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
GLOB = re.compile(r"[*?\[{]")


@dataclass(frozen=True)
class DataFile:
    """A file by the URL that Spark reads, its path in Arrow's file system, and its folders of the form key=value."""

    url: str
    path: str
    size: int
    partition: tuple[tuple[str, str | None], ...] = ()


@dataclass
class Files:
    """The files of an input, below the folder `root`.

    `left_out` and `damaged` map the names of the others to the reason: of no data, and of data that cannot be read.
    """

    system: fs.FileSystem
    root: str
    data: list[DataFile] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)

    def set_aside(self, file: DataFile, why: str) -> None:
        """Read the input without a damaged file."""
        self.data.remove(file)
        self.damaged[file.url] = why

    def set_aside_named(self, damaged: Mapping[str, str]) -> None:
        """The same for files by name, whatever scheme the name begins with."""
        for name, why in damaged.items():
            for file in [file for file in self.data if name.endswith(file.path)]:
                self.set_aside(file, why)

    @property
    def found(self) -> int:
        return len(self.data) + len(self.left_out) + len(self.damaged)


def list_files(location: str) -> Files:
    """Everything under a file, folder or glob, whatever its depth, in the order of the paths.

    Names that begin with `.` or `_` (but for folders `_key=value`) and empty files are left out. Raises InputError
    when nothing is there or the place cannot be listed.
    """
    if "://" not in location:
        location = str(Path(location).expanduser().absolute())
    try:
        system, path = locate(location)
        scheme = location[: location.rindex(path)] if location.rstrip("/").endswith(path.rstrip("/")) else ""
        root, infos = _listed(system, path.rstrip("/") or "/")
    except (OSError, ValueError) as error:
        raise InputError(
            f"The input {location} cannot be read", found=one_line(error), remedy="mend `path` in the configuration"
        ) from error
    files = Files(system, scheme + root)
    for info in sorted(infos, key=lambda info: info.path):
        below = info.path[len(root) :].strip("/").split("/") if info.path != root else [info.base_name]
        keys = tuple(_partition(folder) for folder in below[:-1] if PARTITION.match(folder))
        file = DataFile(scheme + info.path, info.path, info.size, keys)
        if any(HIDDEN.match(name) for name in below):
            files.left_out[file.url] = "its name begins with . or _"
        elif not info.size:
            files.left_out[file.url] = "it is empty"
        else:
            files.data.append(file)
    if not files.data:
        raise InputError(
            f"The input {location} holds no files of data",
            found=", ".join(f"{name} ({why})" for name, why in list(files.left_out.items())[:5]) or "nothing",
            remedy="mend `path` in the configuration, or wait until the input has arrived",
        )
    return files


def _listed(system: fs.FileSystem, path: str) -> tuple[str, list[fs.FileInfo]]:
    """The folder that everything is below, and all files: of a file itself, of a folder, or of what a glob matches."""
    info = system.get_file_info(path)
    if info.type == fs.FileType.File:
        return path.rpartition("/")[0] or "/", [info]
    if info.type == fs.FileType.Directory:
        return path, _files_below(system, path)
    if not GLOB.search(path):
        raise FileNotFoundError(f"{path} is not there")
    root = path[: GLOB.search(path).start()].rpartition("/")[0] or "/"  # pyright: ignore[reportOptionalMemberAccess]
    wanted = re.compile(_glob_pattern(path) + "(?:/.*)?")
    return root, [info for info in _files_below(system, root) if wanted.fullmatch(info.path)]


def _files_below(system: fs.FileSystem, folder: str) -> list[fs.FileInfo]:
    found = system.get_file_info(fs.FileSelector(folder, allow_not_found=True, recursive=True))
    return [info for info in found if info.type == fs.FileType.File]


def _glob_pattern(path: str) -> str:
    """A glob as Hadoop knows it (`*`, `?`, `[a-c]`, `{a,b}`; none crosses a folder) as a regular expression."""
    out, depth = "", 0
    for part in re.findall(r"\[[^\]]*\]|.", path):
        if part.startswith("[") and part.endswith("]"):
            out += part.replace("[!", "[^")
        elif part in "{}":
            depth += 1 if part == "{" else -1
            out += "(?:" if part == "{" else ")"
        elif part == "," and depth:
            out += "|"
        else:
            out += {"*": "[^/]*", "?": "[^/]"}.get(part, re.escape(part))
    return out


def _partition(folder: str) -> tuple[str, str | None]:
    key, _, value = folder.partition("=")
    return unquote(key), None if value == NO_VALUE else unquote(value)
