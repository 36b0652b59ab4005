"""What a Python worker of Spark does at the start of a search's task."""

import gc
import sys
import zipimport

from divspa.retrieval.kernel import one_thread


def start_task() -> None:
    """Use one thread for FAISS, and make the start of this worker's next task cheap.

    Before a task Spark invalidates Python's import caches, and after it collects garbage. Its workers run from
    pyspark.zip, whose directory is read again for each package inside: 0.1 s in all. Finders that are not in the cache
    have nothing to invalidate, and Python makes them anew if it needs them. Modules, once frozen, are no garbage.
    """
    one_thread()
    if not gc.get_freeze_count():
        gc.freeze()
    for path, finder in list(sys.path_importer_cache.items()):
        if isinstance(finder, zipimport.zipimporter):
            del sys.path_importer_cache[path]
