"""Ask a recall service for candidates from several connections at once, and print what it took as JSON.

    python examples/load_test.py http://localhost:8080 lake/serving/ds=2024-06-30 --requests 2000 --connections 4

Requests are made of the bundle's own example, each with other clicks of its catalogue.
"""

import argparse
import http.client
import json
import random
import threading
import time
from typing import Any
from urllib.parse import urlsplit

from divspa.serving.bundle import CATALOGUE, Bundle


def load_test(url: str, folder: str, requests: int, connections: int, clicks: int = 20) -> dict[str, Any]:
    """Seconds of each request, over connections that stay open: p50, p99, requests a second, failures, versions."""
    bundle = Bundle.read(folder)
    items = bundle.table(CATALOGUE)["item_id"].to_pylist()
    fields = bundle.manifest.get("example", {"request": {"fields": {}}})["request"]["fields"]
    took: list[float] = []
    failures: list[str] = []
    versions: set[str] = set()

    def ask(seed: int) -> None:
        draw, host = random.Random(seed), urlsplit(url).netloc  # noqa: S311 - not a secret
        connection = http.client.HTTPConnection(host)
        for _ in range(requests // connections):
            body = json.dumps({"fields": fields, "clicks": draw.sample(items, min(clicks, len(items))), "k": 100})
            started = time.perf_counter()
            connection.request("POST", "/candidates", body, {"content-type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            took.append(time.perf_counter() - started)
            if answer.status == 200:
                versions.add(json.loads(content)["version"])
            else:
                failures.append(content.decode(errors="replace"))

    started = time.perf_counter()
    threads = [threading.Thread(target=ask, args=(n,)) for n in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took.sort()
    return {
        "requests": len(took),
        "connections": connections,
        "p50_ms": round(1000 * took[len(took) // 2], 2),
        "p99_ms": round(1000 * took[int(0.99 * len(took))], 2),
        "qps": round(len(took) / (time.perf_counter() - started), 1),
        "failures": len(failures),
        "first_failure": failures[0] if failures else None,
        "versions": sorted(versions),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("folder")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--connections", type=int, default=4)
    given = parser.parse_args()
    print(json.dumps(load_test(given.url, given.folder, given.requests, given.connections)))
