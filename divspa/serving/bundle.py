"""The files that a service needs, and a manifest that says what they are; written whole, and read only if whole."""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from divspa.errors import DamagedError, MissingTableError
from divspa.storage import read_file, size_of, write_file

MANIFEST, NEWEST, FORMAT = "manifest.json", "newest.json", 1
INDEX, ITEM_IDS, CATALOGUE, USER_TOWER = "items.faiss", "item_ids.parquet", "catalogue.parquet", "user_tower.pt2"
USER_TOWER_ONNX = "user_tower.onnx"


@dataclass(frozen=True)
class Bundle:
    """Files by name, and the manifest: what they are, how a request is read, checksums and an example."""

    manifest: Mapping[str, Any]
    files: Mapping[str, bytes]

    @classmethod
    def of(cls, said: Mapping[str, Any], files: Mapping[str, bytes]) -> "Bundle":
        """Files with what is said of them; `version` is a hash of both, so equal days have equal versions."""
        sums = {name: {"sha256": _sum(content), "bytes": len(content)} for name, content in sorted(files.items())}
        text = json.dumps([said, sums], sort_keys=True)
        return cls({"format": FORMAT, "version": _sum(text.encode())[:16], **said, "files": sums}, files)

    @property
    def version(self) -> str:
        return self.manifest["version"]

    def with_example(self, example: Mapping[str, Any]) -> "Bundle":
        """The same bundle, whose manifest shows a request and its answer."""
        return Bundle({**self.manifest, "example": example}, self.files)

    def table(self, name: str) -> pa.Table:
        """One of the files that are Parquet."""
        return pq.read_table(io.BytesIO(self.files[name])).combine_chunks()

    def write(self, day_folder: str) -> str:
        """Write into a folder of the day that is named after the version, the manifest last. Returns that folder.

        A version that is there already stays as it is: a service may be reading it. NEWEST in the day's folder names
        the version that was written last.
        """
        folder = f"{day_folder}/{self.version}"
        if size_of(f"{folder}/{MANIFEST}") is None:
            for name, content in self.files.items():
                write_file(f"{folder}/{name}", content)
            write_file(f"{folder}/{MANIFEST}", json.dumps(self.manifest, indent=2).encode())
        write_file(f"{day_folder}/{NEWEST}", json.dumps({"version": self.version}).encode())
        return folder

    @classmethod
    def read(cls, folder: str) -> "Bundle":
        """Read a bundle: its folder, or that of its day, of which it is the newest.

        Raises MissingTableError where none is, and DamagedError for a file that is not what the manifest says.
        """
        folder = newest_of(folder.rstrip("/"))
        try:
            manifest = json.loads(read_file(f"{folder}/{MANIFEST}"))
            sums, found_format = manifest["files"], manifest["format"]
        except (ValueError, KeyError, TypeError) as error:
            raise _damaged(f"{folder}/{MANIFEST}", "a manifest", "cut or garbage") from error
        if found_format != FORMAT:
            raise _damaged(f"{folder}/{MANIFEST}", f"format {FORMAT}", f"format {found_format}")
        files = {}
        for name, told in sums.items():
            try:
                files[name] = read_file(f"{folder}/{name}")
            except FileNotFoundError as error:
                raise _damaged(f"{folder}/{name}", "a file", "none") from error
            if _sum(files[name]) != told["sha256"]:
                raise _damaged(f"{folder}/{name}", f"{told['bytes']} bytes", f"{len(files[name])}, other ones")
        return cls(manifest, files)


def parquet(columns: Mapping[str, Any]) -> bytes:
    """Columns as the bytes of a Parquet file."""
    out = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), out)
    return out.getvalue()


def newest_of(folder: str) -> str:
    """The folder of the newest bundle of a day's folder, or a bundle's own. Raises MissingTableError for any other."""
    if size_of(f"{folder}/{MANIFEST}") is not None:
        return folder
    try:
        return f"{folder}/{json.loads(read_file(f'{folder}/{NEWEST}'))['version']}"
    except FileNotFoundError as error:
        raise MissingTableError(
            f"There is no serving bundle in {folder}",
            found=f"neither {MANIFEST} nor {NEWEST}",
            remedy="run `export_recall` of the day first; `divspa published` names the folder to load",
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(f"{folder}/{NEWEST}", "the name of a version", "cut or garbage") from error


def _damaged(file: str, expected: str, found: str) -> DamagedError:
    remedy = "remove its folder and run `export_recall` of its day again"
    return DamagedError(f"The file {file} is damaged", expected=expected, found=found, remedy=remedy)


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
