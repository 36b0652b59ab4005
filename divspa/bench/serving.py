"""A served request, from raw fields and clicks to items, beside FAISS alone on the same index; one core, no Spark."""

import time
from dataclasses import asdict
from typing import Any

import faiss
import numpy as np
import torch

from divspa.models.layout import FieldSlot, Layout
from divspa.models.registry import build_model
from divspa.models.settings import Model
from divspa.models.two_tower import TwoTowerModule
from divspa.schemas.vocabulary import FIRST_INDEX
from divspa.serving.bundle import CATALOGUE, INDEX, ITEM_IDS, USER_TOWER, Bundle, parquet
from divspa.serving.encoder import FieldRule, Request, Rules
from divspa.serving.index import MEASURED_AT, build_index
from divspa.serving.recall import Recall
from divspa.serving.settings import Recall as Settings
from divspa.serving.tower import export_user_tower

CLUSTERS, NOISE = 2000, 0.7
FIELDS, VALUES, HISTORY = 10, 1000, 50
WARMED = 50
MEASURED_ON = 1000


def bench_serving(items: int, requests: int, dim: int, k: int, seed: int) -> dict[str, Any]:
    """p50 and p99 of a request in ms, wall and processor time, requests a second of one thread, seconds to load.

    A request has ten fields and fifty clicks, and asks for k items that are new to the user. The reference searches
    the same index for the same users' vectors, with as many more items as a request leaves out.
    """
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    rng = np.random.default_rng(seed)
    bundle = made(items, dim, rng)
    started = time.perf_counter()
    recall = Recall(bundle)
    load_s = time.perf_counter() - started
    asked = [request(items, rng) for _ in range(requests + WARMED)]
    vectors_QD = recall.vectors(asked)
    index = recall.searchers[None].index
    ours, theirs = [], []
    # In turn, so that whatever else the machine does meanwhile meets both.
    for each, vector_D in zip(asked, vectors_QD, strict=True):
        ours.append(_seconds(lambda each=each: recall.candidates(each.fields, each.clicks, k)))
        theirs.append(_seconds(lambda vector_D=vector_D: index.search(vector_D[None], k + HISTORY)))
    (p50, cpu_50), (p99, cpu_99) = np.percentile(ours[WARMED:], [50, 99], axis=0) * 1000
    (faiss_50, faiss_cpu_50), (faiss_99, faiss_cpu_99) = np.percentile(theirs[WARMED:], [50, 99], axis=0) * 1000
    return {
        "bench": "serving",
        "items": items,
        "sizes": {"requests": requests, "dim": dim, "k": k, "fields": FIELDS, "clicks": HISTORY},
        "p50_ms": round(p50, 3),
        "p99_ms": round(p99, 3),
        "cpu_p50_ms": round(cpu_50, 3),
        "cpu_p99_ms": round(cpu_99, 3),
        "qps": round(requests / sum(wall for wall, _ in ours[WARMED:]), 1),
        "load_s": round(load_s, 2),
        "recall": round(bundle.manifest["index"]["recall"], 4),
        "index": bundle.manifest["index"],
        "references": {
            "raw_faiss": {
                "p50_ms": round(faiss_50, 3),
                "p99_ms": round(faiss_99, 3),
                "cpu_p50_ms": round(faiss_cpu_50, 3),
                "cpu_p99_ms": round(faiss_cpu_99, 3),
                "ratio": round(p99 / faiss_99, 2),
            }
        },
    }


def made(items: int, dim: int, rng: np.random.Generator) -> Bundle:
    """A bundle of clustered items and a model whose users lie among the items that they clicked."""
    model = _model(items, dim, rng)
    index_N = np.arange(items) + FIRST_INDEX
    vectors_ND = model.items.weight[FIRST_INDEX:].numpy()
    names = [f"i{n:07}" for n in range(items)]
    rules = Rules(tuple(_field(n) for n in range(FIELDS)), (), HISTORY, ("null",), "timestamp")
    histories = rng.integers(FIRST_INDEX, items, (MEASURED_ON, HISTORY)).astype(np.int32)
    fields = np.ones((MEASURED_ON, FIELDS), np.int32)
    queries_QD = model.encode_users(torch.from_numpy(fields), torch.from_numpy(histories)).numpy()
    settings = Settings()
    built = build_index(index_N, vectors_ND, queries_QD, settings.exact_items, settings.index_recall, 1)
    said = {
        "index": {
            "items": items,
            "exact_items": settings.exact_items,
            "clusters": built.clusters,
            "probes": built.probes,
            "recall": built.recall,
            "recall_at": MEASURED_AT,
            "measured_on": MEASURED_ON if built.clusters else 0,
        },
        "request": asdict(rules),
        "allowed": {},
    }
    files = {
        INDEX: faiss.serialize_index(built.index).tobytes(),
        ITEM_IDS: parquet({"item_index": index_N, "item_id": names}),
        CATALOGUE: parquet({"item_index": index_N, "item_id": names}),
        USER_TOWER: export_user_tower(model),
    }
    return Bundle.of(said, files)


def request(items: int, rng: np.random.Generator) -> Request:
    """A user with a value in every field and fifty clicks."""
    values = {f"field_{n}": f"value {value}" for n, value in enumerate(rng.integers(0, VALUES, FIELDS))}
    return Request(values, [f"i{item:07}" for item in rng.integers(0, items, HISTORY)])


def _model(items: int, dim: int, rng: np.random.Generator) -> TwoTowerModule:
    slots = tuple(FieldSlot(name=f"field_{n}", width=1, cardinality=VALUES + FIRST_INDEX) for n in range(FIELDS))
    layout = Layout(items=items + FIRST_INDEX, history_length=HISTORY, user=slots)
    model = build_model(Model.model_validate({"name": "youtube_dnn", "dim": dim}), layout).eval().requires_grad_(False)
    centres_CD = rng.standard_normal((CLUSTERS, dim))
    centres_CD /= np.linalg.norm(centres_CD, axis=1, keepdims=True)
    noise_ND = rng.standard_normal((items + FIRST_INDEX, dim)) * (NOISE / dim**0.5)
    vectors_ND = centres_CD[(CLUSTERS * rng.random(items + FIRST_INDEX) ** 2).astype(int)] + noise_ND
    vectors_ND /= np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    model.items.weight[:] = torch.from_numpy(vectors_ND.astype(np.float32))
    return model


def _field(place: int) -> FieldRule:
    name = f"field_{place}"
    return FieldRule(name, "categorical", 1, name, None, ("null",), ".", buckets=VALUES)


def _seconds(action: Any) -> tuple[float, float]:
    """Wall seconds, and those of this thread on a processor, which other work on the machine hardly changes."""
    started, cpu = time.perf_counter(), time.thread_time()
    action()
    return time.perf_counter() - started, time.thread_time() - cpu
