"""Rows that several queries of a stage read, made once."""

from contextlib import ExitStack

from pyspark.sql import DataFrame

# Set in a session for a small log, in one process: there no worker is lost whose rows only the plan could bring back.
FORGETS_PLANS = "spark.divspa.forgetsPlans"


def held(stack: ExitStack, rows: DataFrame) -> DataFrame:
    """Keep rows in memory or on disk until the stack closes.

    Of a small log their plan is forgotten as well: every query over them would be planned with all that led to them,
    which takes longer than making them.
    """
    if rows.sparkSession.conf.get(FORGETS_PLANS, "false") == "true":
        return rows.localCheckpoint(eager=False)
    stack.callback(rows.unpersist)
    return rows.persist()
