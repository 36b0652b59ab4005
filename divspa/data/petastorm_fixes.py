"""Faults of petastorm 0.13.1, mended where it looks them up; importing this module is enough."""

import warnings
from typing import NoReturn
from urllib.parse import ParseResult

import numpy as np
import petastorm.arrow_reader_worker
import petastorm.etl.dataset_metadata
import petastorm.etl.rowgroup_indexing
import petastorm.fs_utils
import petastorm.reader
import pyarrow as pa
import pyarrow.filesystem
from petastorm.reader import Reader
from petastorm.workers_pool.thread_pool import ThreadPool
from pyarrow import fs

from divspa.arrow import matrix
from divspa.errors import InputError


class PatientThreadPool(ThreadPool):
    """The thread pool, which now and then ended before it had begun.

    It asks whether all that was handed out has been read, and then whether all was handed out; between the two
    questions everything may have been handed out, and a pass over a few row groups came back empty or cut short. Here
    the second question comes first.
    """

    def all_workers_done(self) -> bool:
        return self._ventilator is not None and self._ventilator.completed() and super().all_workers_done()


class QuietReader(Reader):
    """The reader, which at the end of every pass prints that it has cleaned a cache; we use none."""

    def cleanup_cache(self) -> None:
        pass


def as_arrays(table: pa.Table, schema: object) -> dict[str, np.ndarray]:
    """A row group's columns as arrays, lists of one length as matrices; theirs makes an object of every row."""
    columns = {name: table.column(name).combine_chunks() for name in table.column_names}
    return {
        name: matrix(column) if pa.types.is_list(column.type) else column.to_numpy(zero_copy_only=False)
        for name, column in columns.items()
    }


class ArrowFiles(pyarrow.filesystem.FileSystem):
    """Files of any file system of Arrow, in Arrow's old interface: petastorm knows no other, and asks no more of it."""

    def __init__(self, system: fs.FileSystem) -> None:
        self.system = system

    def isdir(self, path: str) -> bool:
        return not self.isfile(path)

    def isfile(self, path: str) -> bool:
        return self.system.get_file_info(path).is_file

    def open(self, path: str, mode: str = "rb") -> pa.NativeFile:
        return self.system.open_input_file(path)


def refuse_pickle(pickled: bytes) -> NoReturn:
    """What petastorm keeps in `_common_metadata` of a folder is a pickle, which may call anything of builtins.

    We hand it files, beside which it looks for none; whatever way leads there, nothing is unpickled.
    """
    raise InputError(
        "petastorm found a pickle in a folder's `_common_metadata` or `_metadata`, which is never read",
        remedy="remove these files: no table of divspa has them",
    )


def path_of(url: ParseResult) -> str:
    """A file's path in its file system; theirs asks for s3fs to take the scheme off."""
    return url.path if url.scheme == "file" else url.netloc + url.path


petastorm.fs_utils.get_dataset_path = path_of
petastorm.etl.dataset_metadata.depickle_legacy_package_name_compatible = refuse_pickle
petastorm.etl.rowgroup_indexing.depickle_legacy_package_name_compatible = refuse_pickle
petastorm.reader.Reader = QuietReader
petastorm.reader.ThreadPool = PatientThreadPool
petastorm.arrow_reader_worker.convert_arrow_table_to_numpy_dict = as_arrays
# Its workers warn about Arrow's coming changes at every row group, in threads that no context manager reaches.
for category in (FutureWarning, DeprecationWarning):
    warnings.filterwarnings("ignore", category=category, module="petastorm")
