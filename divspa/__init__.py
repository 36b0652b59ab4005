"""DivSPA: diversified positive augmentation for candidate generation, on Spark, Delta, torch and FAISS."""

import os

# Threads of torch that spin while they wait for each other are fifteen times slower beside another busy process than
# alone. This long they spin at most (GNU OpenMP reads it when torch is loaded, so it must be set before).
os.environ.setdefault("GOMP_SPINCOUNT", "20000")

__version__ = "0.1.0"
