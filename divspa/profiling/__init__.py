"""Where the time of a day went: Spark's event logs beside what the stages recorded of themselves."""
