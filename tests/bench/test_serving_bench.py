"""The benchmark of a served request, the index beyond its exact size, and the example service over HTTP."""

import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest

from divspa.bench.serving import bench_serving, made
from divspa.serving.index import Searcher, build_index
from divspa.serving.recall import Recall

EXAMPLES = Path(__file__).parents[2] / "examples"
ITEMS = 2000
sys.path.insert(0, str(EXAMPLES))


def test_the_benchmark_prints_what_it_promises() -> None:
    done = bench_serving(ITEMS, 100, 16, 20, seed=1)
    assert done["items"] == ITEMS and done["recall"] == 1.0
    assert 0 < done["p50_ms"] <= done["p99_ms"] and done["qps"] > 0 and done["load_s"] > 0
    assert done["references"]["raw_faiss"]["ratio"] == pytest.approx(
        done["p99_ms"] / done["references"]["raw_faiss"]["p99_ms"], rel=0.2
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> list[str]:
    """Two bundles with other items in the same place."""
    root = tmp_path_factory.mktemp("serving")
    return [made(ITEMS, 16, np.random.default_rng(seed)).write(str(root / f"ds={seed}")) for seed in (1, 2)]


def test_the_example_answers_under_load_while_it_takes_a_new_version(folders) -> None:
    from load_test import load_test

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    days = [str(Path(folder).parent) for folder in folders]
    command = [sys.executable, str(EXAMPLES / "serve.py"), days[0], "--port", str(port)]
    service = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    url = f"http://127.0.0.1:{port}"
    try:
        up(url, service)
        done: list[dict] = []
        asking = threading.Thread(target=lambda: done.append(load_test(url, folders[0], 400, 4)))
        asking.start()
        assert posted(f"{url}/reload", {"folder": "/etc"})[0] == 403
        assert posted(f"{url}/reload", {"folder": days[0] + "0"})[0] == 409
        for day in (days[1], days[0], days[1]):
            assert posted(f"{url}/reload", {"folder": day})[0] == 200
        asking.join()
        assert done[0]["requests"] == 400 and done[0]["failures"] == 0, done[0]["first_failure"]
        assert set(done[0]["versions"]) <= {Path(folder).name for folder in folders}
        status, answer = posted(f"{url}/candidates", {"fields": {"field_0": "value 1"}, "clicks": ["i0000003"], "k": 7})
        expected = Recall.load(folders[1]).candidates({"field_0": "value 1"}, ["i0000003"], 7)
        assert status == 200 and (answer["item_ids"], answer["version"]) == (expected.item_ids, expected.version)
        assert posted(f"{url}/candidates", {"fields": {"strange": 1}})[0] == 422
    finally:
        service.terminate()
        service.communicate()


def up(url: str, service: subprocess.Popen[str]) -> None:
    """Wait until the service answers."""
    while True:
        try:
            with urlopen(f"{url}/version") as answer:
                return json.load(answer)
        except OSError:
            assert service.poll() is None, service.stderr and service.stderr.read()
            time.sleep(0.2)


def posted(url: str, body: dict) -> tuple[int, dict]:
    try:
        with urlopen(Request(url, json.dumps(body).encode(), {"content-type": "application/json"})) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, {}


def test_beyond_its_exact_size_an_index_reaches_its_recall_and_keeps_k() -> None:
    rng = np.random.default_rng(3)
    centres = rng.standard_normal((50, 8))
    vectors = (centres[rng.integers(0, 50, 4000)] + 0.4 * rng.standard_normal((4000, 8))).astype(np.float32)
    ids = rng.permutation(np.arange(2, 9000))[:4000]
    built = build_index(ids, vectors, vectors[:300], 1000, 0.95, seed=1)
    exact = build_index(ids, vectors, vectors[:300], 4000, 0.95, seed=1)
    assert exact.probes == 0 and exact.recall == 1.0
    assert 0.95 <= built.recall <= 1 and 0 < built.probes < built.clusters
    large, small = np.sort(ids[:2000]), np.sort(ids[:500])
    out = ids[:30].tolist()
    for part, least in ((ids, 0.9), (large, 0.9), (small, 1.0)):
        approximate, whole = (Searcher(each.index, part, 1000) for each in (built, exact))
        shares, left = [], set(part) - set(out)
        rest = np.array([n for n, item in enumerate(ids) if item in left])
        for query in vectors[300:320]:
            found, scores = approximate.search(query, 50, out)
            best, _ = whole.search(query, 50, out)
            assert len(found) == 50 and set(found) <= left and (np.diff(scores) <= 0).all()
            assert set(best) == set(ids[rest][np.argsort(-(vectors[rest] @ query))[:50]])
            shares.append(len(set(found) & set(best)) / 50)
        assert np.mean(shares) >= least
    everything, _ = Searcher(built.index, small, 1000).search(vectors[0], 900, out)
    assert len(everything) == 470
    most, _ = Searcher(built.index, large, 1000).search(vectors[0], 3000, [*out, 1, 8999])
    assert set(most) == set(large) - set(out), "probes rise until all are found"
