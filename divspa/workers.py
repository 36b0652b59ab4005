"""Where Spark forks its Python workers from on a local master: what these import lies there already.

Each worker would import torch, faiss and pandas by itself, for seconds of the processor.
"""

import faiss  # noqa: F401
import pandas  # noqa: F401
import pyarrow  # noqa: F401
import torch  # noqa: F401
from pyspark.daemon import manager

if __name__ == "__main__":
    manager()
