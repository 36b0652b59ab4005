"""DivSPA: diversified positive augmentation for candidate generation, on Spark, Delta, torch and FAISS."""

__version__ = "0.1.0"
