"""The three ways to more positives, their sampling and their weights (Section 3.2)."""
