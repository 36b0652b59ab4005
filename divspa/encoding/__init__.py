"""How raw values become the numbers that the towers read, without Spark: one rule for features and serving."""
