"""Two faults of petastorm 0.13.1, mended where it looks them up; importing this module is enough."""

import warnings

import numpy as np
import petastorm.arrow_reader_worker
import petastorm.reader
import pyarrow as pa
from petastorm.workers_pool.thread_pool import ThreadPool

from divspa.arrow import matrix


class PatientThreadPool(ThreadPool):
    """The thread pool, which now and then ended before it had begun.

    It asks whether all that was handed out has been read, and then whether all was handed out; between the two
    questions everything may have been handed out, and a pass over a few row groups came back empty or cut short. Here
    the second question comes first.
    """

    def all_workers_done(self) -> bool:
        return self._ventilator is not None and self._ventilator.completed() and super().all_workers_done()


def as_arrays(table: pa.Table, schema: object) -> dict[str, np.ndarray]:
    """A row group's columns as arrays, lists of one length as matrices; theirs makes an object of every row."""
    columns = {name: table.column(name).combine_chunks() for name in table.column_names}
    return {
        name: matrix(column) if pa.types.is_list(column.type) else column.to_numpy(zero_copy_only=False)
        for name, column in columns.items()
    }


petastorm.reader.ThreadPool = PatientThreadPool
petastorm.arrow_reader_worker.convert_arrow_table_to_numpy_dict = as_arrays
# Its workers warn about Arrow's coming changes at every row group, in threads that no context manager reaches.
for category in (FutureWarning, DeprecationWarning):
    warnings.filterwarnings("ignore", category=category, module="petastorm")
