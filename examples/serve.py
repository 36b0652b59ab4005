"""A recall service over HTTP: FastAPI around `divspa.serving.Served`, one thread a request at a time.

    pip install 'divspa[serving]' fastapi uvicorn
    python examples/serve.py lake/serving/ds=2024-06-30 --port 8080
    curl -s localhost:8080/candidates -H 'content-type: application/json' \
        -d '{"fields": {"age_band": "3"}, "clicks": ["i12", "i7"], "k": 20}'
    curl -s localhost:8080/reload -H 'content-type: application/json' -d '{"folder": "lake/serving/ds=2024-07-01"}'

`reload` takes a folder below the one that holds the first day's, and answers when the new version is in its place.
Put it behind something that knows who may call it: it knows nobody.
"""

import argparse
from pathlib import Path
from typing import Any

import faiss
import torch
import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

from divspa.errors import DivSPAError
from divspa.serving import Served


class Asked(BaseModel):
    """A user, raw as in the log: fields by their names, and clicks, oldest first or as [item, time] pairs."""

    fields: dict[str, Any] = {}
    clicks: list[Any] = []
    k: int = Field(default=100, ge=1, le=1000)
    exclude: list[Any] = []
    allowed: str | None = None


class Folder(BaseModel):
    """Where a bundle lies."""

    folder: str


def service(folder: str) -> FastAPI:
    """The service over the bundle in a folder."""
    served, root = Served(folder), Path(folder).resolve().parent
    app = FastAPI(title="divspa recall")

    @app.post("/candidates")
    async def candidates(asked: Asked) -> dict[str, Any]:
        # A request is a millisecond of one core: handing it to another thread would cost more.
        try:
            found = served.recall.candidates(
                asked.fields, asked.clicks, asked.k, exclude=asked.exclude, allowed=asked.allowed
            )
        except DivSPAError as error:
            raise HTTPException(422, str(error)) from error
        return {"item_ids": found.item_ids, "scores": found.scores, "version": found.version}

    @app.post("/reload")
    def reload(asked: Folder) -> dict[str, str]:  # in a thread of its own, while others are answered
        if root not in Path(asked.folder).resolve().parents:
            raise HTTPException(403, f"not below {root}")
        try:
            return {"version": served.reload(asked.folder).version}
        except DivSPAError as error:
            raise HTTPException(409, str(error)) from error

    @app.get("/version")
    async def version() -> dict[str, str]:
        return {"version": served.recall.version, "ds": str(served.recall.manifest.get("ds"))}

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    given = parser.parse_args()
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    uvicorn.run(service(given.folder), host=given.host, port=given.port, log_level="warning")
