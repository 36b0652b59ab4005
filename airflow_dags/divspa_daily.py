"""The daily pipeline for Airflow 3: waits for a day's clicks, then runs one spark-submit a stage.

It only builds command lines and imports nothing of divspa. What differs between deployments is one Airflow Variable,
`divspa_daily`: a JSON object with any of the keys of `DEFAULTS`; an unknown key is an import error of the DAG. Where
Spark runs (master, deploy mode, queue, namespace, spark-submit binary) is the Spark connection that it names.
"""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import requests
from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.sensors.filesystem import FileSensor
from airflow.sdk import (
    DAG,
    Asset,
    BaseHook,
    BaseSensorOperator,
    Context,
    CronDataIntervalTimetable,
    ObjectStoragePath,
    Variable,
    chain,
)
from airflow.sdk.exceptions import AirflowException, AirflowFailException

VARIABLE = "divspa_daily"

DEFAULTS: dict[str, Any] = {
    # The configuration file and the folder of the jobs, as the Spark driver sees them.
    "config": "/etc/divspa/divspa.yaml",
    "jobs": "/opt/divspa/jobs",
    # Further `section.key=value` overrides for every stage.
    "set": [],
    # The day's clicks have landed when this file, folder or glob exists; {{ ds }} is the logical day. A URL, such as
    # s3://bucket/clicks/{{ ds }}/_SUCCESS, is looked for in its store, by the connection `store_connection`.
    "clicks": "/data/clicks/part-{{ ds }}-*.parquet",
    "wait_hours": 12,
    "poke_minutes": 5,
    # Days are UTC and run when they are over; catch-up starts at the first day of the log and never ends by default.
    "start_date": "2026-01-01",
    "end_date": None,
    "schedule": "@daily",
    "spark_connection": "spark_default",
    "file_connection": "fs_default",
    "store_connection": None,
    # An HTTP connection that failures are posted to as JSON; null only logs them.
    "alert_connection": None,
    # Of every stage, unless `stages` says otherwise: {"train_base": {"timeout_hours": 12, "conf": {...}}}.
    "retries": 2,
    "retry_minutes": 5,
    "timeout_hours": 6,
    "conf": {"spark.driver.memory": "3g", "spark.executor.memory": "4g", "spark.executor.cores": "2"},
    "stages": {},
}
# How a stage ends when a gate of its holds the day back.
GATE_CLOSED = 3
OF_A_STAGE = ("retries", "retry_minutes", "timeout_hours", "conf")

# Each stage and the tables that it gives to other teams; `publish` moves last, and names the day that they read.
STAGES: dict[str, tuple[str, ...]] = {
    "build_features": (),
    "train_base": (),
    "train_linear": ("item_neighbours",),
    "tune": (),
    "augment": ("augmented_positives",),
    "train_divspa": (),
    "evaluate": ("metrics", "channels"),
    "refit": (),
    "export_recall": ("recall_u2i", "recall_i2i", "recall_fallback"),
    "publish": ("published",),
}

log = logging.getLogger(__name__)


def read_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults with the Variable's values over them. Raises ValueError for a key or stage that does not exist."""
    _refuse_unknown(given, DEFAULTS, "keys")
    settings = DEFAULTS | dict(given)
    settings["conf"] = DEFAULTS["conf"] | settings["conf"]
    _refuse_unknown(settings["stages"], STAGES, "stages")
    for stage, own in settings["stages"].items():
        _refuse_unknown(own, OF_A_STAGE, f"keys of the stage {stage}")
    return settings


def alert(context: Mapping[str, Any], connection_id: str | None = None) -> None:
    """Log a failed task, and post it through the alert connection when one is set.

    An alert that cannot be delivered is logged and never hides the failure itself.
    """
    task = context["task_instance"]
    failure = {
        "dag": task.dag_id,
        "task": task.task_id,
        "ds": context["ds"],
        "run": task.run_id,
        "attempt": task.try_number,
        "error": str(context.get("exception", "")),
    }
    log.error("divspa stage failed: %s", failure)
    if not connection_id:
        return
    try:
        connection = BaseHook.get_connection(connection_id)
        url = connection.host if "://" in (connection.host or "") else connection.get_uri()
        requests.post(str(url), json=failure, timeout=10).raise_for_status()
    except Exception:
        log.exception("The alert could not be delivered through the connection %s", connection_id)


class StoreSensor(BaseSensorOperator):
    """Waits for a file, folder or glob in an object store that Airflow has a provider for."""

    template_fields = ("url",)

    def __init__(self, *, url: str, conn_id: str | None, **settings: Any) -> None:
        super().__init__(**settings)
        self.url, self.conn_id = url, conn_id

    def poke(self, context: Context) -> bool:
        path = ObjectStoragePath(self.url, conn_id=self.conn_id)
        return path.exists() or any(path.parent.glob(path.name))


class SparkStage(SparkSubmitOperator):
    """A spark-submit that is not tried again when a gate held the day back: the same data would not pass it either."""

    def execute(self, context: Context) -> None:
        try:
            super().execute(context)
        except AirflowException as error:
            # In a cluster's deploy mode the driver's exit code does not come back, so there it is tried again.
            if f"Error code is: {GATE_CLOSED}." in str(error):
                raise AirflowFailException("A gate held the day back; its log says which, and by how much") from error
            raise


def spark_stage(stage: str, settings: Mapping[str, Any]) -> SparkSubmitOperator:
    """One spark-submit: `jobs/STAGE.py --config FILE --ds DAY [--set key=value ...]`."""
    own = {key: settings[key] for key in OF_A_STAGE} | settings["stages"].get(stage, {})
    arguments = ["--config", settings["config"], "--ds", "{{ ds }}"]
    for override in settings["set"]:
        arguments += ["--set", override]
    return SparkStage(
        task_id=stage,
        conn_id=settings["spark_connection"],
        application=f"{settings['jobs']}/{stage}.py",
        application_args=arguments,
        name=f"divspa-{stage}-{{{{ ds }}}}",
        conf=settings["conf"] | own["conf"],
        # Not re-attached to after a lost worker, which on YARN would need its REST API: a stage replaces its day, so
        # submitting it again is safe in every deploy mode.
        durable=False,
        retries=own["retries"],
        retry_delay=timedelta(minutes=own["retry_minutes"]),
        retry_exponential_backoff=True,
        execution_timeout=timedelta(hours=own["timeout_hours"]),
        outlets=[Asset(name=table, uri=f"x-divspa://lake/{table}", group="divspa") for table in STAGES[stage]],
    )


def clicks_landed(settings: Mapping[str, Any]) -> BaseSensorOperator:
    """Waits until the day's clicks are there, and takes no worker meanwhile."""
    waiting: dict[str, Any] = {
        "task_id": "clicks_landed",
        "mode": "reschedule",
        "poke_interval": timedelta(minutes=settings["poke_minutes"]),
        "timeout": timedelta(hours=settings["wait_hours"]),
    }
    if "://" in settings["clicks"]:
        return StoreSensor(url=settings["clicks"], conn_id=settings["store_connection"], **waiting)
    return FileSensor(filepath=settings["clicks"], fs_conn_id=settings["file_connection"], **waiting)


def build_dag(settings: Mapping[str, Any]) -> DAG:
    """The sensor and the stages in a row: a stage that fails for good stops all that follow it."""
    with DAG(
        dag_id="divspa_daily",
        description="Click logs to recall tables, one logical day a run",
        schedule=CronDataIntervalTimetable(settings["schedule"], timezone="UTC"),
        start_date=_midnight(settings["start_date"]),
        end_date=_midnight(settings["end_date"]) if settings["end_date"] else None,
        catchup=True,
        max_active_runs=1,
        default_args={
            "owner": "divspa",
            "on_failure_callback": partial(alert, connection_id=settings["alert_connection"]),
        },
        tags=["divspa", "recommendation"],
        doc_md=__doc__,
    ) as dag:
        chain(clicks_landed(settings), *(spark_stage(stage, settings) for stage in STAGES))
    return dag


def _midnight(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(tzinfo=UTC)


def _refuse_unknown(given: Mapping[str, Any], known: Any, what: str) -> None:
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(f"The Airflow Variable {VARIABLE} has unknown {what} {unknown}; known are {sorted(known)}")


dag = build_dag(read_settings(Variable.get(VARIABLE, default={}, deserialize_json=True)))
