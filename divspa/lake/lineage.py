"""What each stage reads and writes, told to an OpenLineage receiver where `OPENLINEAGE_URL` names one."""

import logging
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from divspa.errors import SetupError, one_line
from divspa.lake.traffic import Traffic

URL, NAMESPACE, PRODUCER = "OPENLINEAGE_URL", "OPENLINEAGE_NAMESPACE", "https://pypi.org/project/divspa"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lineage:
    """The events of one run of a stage, of a job `divspa.STAGE` in OPENLINEAGE_NAMESPACE, by default `divspa`.

    Tables are datasets by their path, with the Delta version that was read or written, and the rows written. An event
    that cannot be sent is a warning.
    """

    client: Any
    job: str
    root: str
    run: str

    @classmethod
    def of(cls, stage: str, root: str) -> "Lineage | None":
        """None without a receiver. Raises SetupError without the client."""
        if not os.environ.get(URL):
            return None
        try:
            from openlineage.client import OpenLineageClient
        except ImportError as error:
            raise SetupError(
                f"{URL} is set, but the client of OpenLineage is not there",
                remedy="`pip install 'divspa[lineage]'`, or unset it",
            ) from error
        return cls(OpenLineageClient(), f"divspa.{stage}", root, str(uuid.uuid4()))

    def started(self) -> None:
        """Say that the stage begins."""
        self._send("START", [], [], {})

    def ended(self, traffic: Traffic, error: str | None) -> None:
        """Say how it ended, and what it read and wrote."""
        from openlineage.client.event_v2 import InputDataset, OutputDataset
        from openlineage.client.facet_v2 import error_message_run, output_statistics_output_dataset

        read = [InputDataset(*self._named(name), facets=self._version(v)) for name, v in traffic.versions_read.items()]
        written = []
        for name, version in traffic.versions_written.items():
            rows = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
                rowCount=traffic.rows_written.get(name)
            )
            written.append(
                OutputDataset(
                    *self._named(name), facets=self._version(version), outputFacets={"outputStatistics": rows}
                )
            )
        failed = error_message_run.ErrorMessageRunFacet(message=error, programmingLanguage="python") if error else None
        facets = {"errorMessage": failed} if failed else {}
        self._send("FAIL" if error else "COMPLETE", read, written, facets)

    def _send(self, state: str, read: list, written: list, facets: Mapping[str, Any]) -> None:
        from openlineage.client.event_v2 import Job, Run, RunEvent, RunState

        event = RunEvent(
            eventTime=datetime.now(UTC).isoformat(),
            producer=PRODUCER,
            run=Run(self.run, dict(facets)),
            job=Job(os.environ.get(NAMESPACE, "divspa"), self.job),
            eventType=RunState[state],
            inputs=read,
            outputs=written,
        )
        try:
            self.client.emit(event)
        except Exception as problem:
            logger.warning("no lineage of %s: %s", self.job, one_line(problem))

    def _named(self, table: str) -> tuple[str, str]:
        """Namespace and name of a table, as OpenLineage names files and objects."""
        url = urlsplit(f"{self.root}/{table}")
        return (f"{url.scheme}://{url.netloc}", url.path.lstrip("/")) if url.scheme else ("file", url.path)

    @staticmethod
    def _version(version: int) -> dict[str, Any]:
        from openlineage.client.facet_v2 import dataset_version_dataset

        return {"version": dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=str(version))}
