"""Commands of `divspa bench`: a hot path beside its reference, in one run."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from divspa.cli.options import AsJson, listed, results_alone_on_stdout
from divspa.errors import ConfigError
from divspa.progress import step


def bench_retrieval(
    users: Annotated[int, typer.Option(min=1)] = 100_000,
    items: Annotated[int, typer.Option(min=1)] = 42_000,
    dim: Annotated[int, typer.Option(min=1)] = 32,
    top_k: Annotated[int, typer.Option("--top-k", min=1)] = 20,
    plan: Annotated[str, typer.Option(help="auto, broadcast, sharded or routed.")] = "auto",
    recall_floor: Annotated[float, typer.Option(min=0, max=1, help="Of a routed search and of hnswlib.")] = 0.98,
    peer: Annotated[str, typer.Option(help="Comma-separated: als, hnswlib.")] = "",
    peer_users: Annotated[
        int, typer.Option(min=0, help="ALS and hnswlib search for so many users, brought to the time of all.")
    ] = 0,
    scaling: Annotated[bool, typer.Option("--scaling", help="Compare two workers of one core with one.")] = False,
    seed: int = 17,
    as_json: AsJson = False,
) -> None:
    """Top-k search over Spark, beside FAISS by itself and, as peers, Spark's own ALS and hnswlib."""
    if plan not in ("auto", "broadcast", "sharded", "routed"):
        raise ConfigError("The option --plan is unknown", expected="auto, broadcast, sharded or routed", found=plan)
    with measuring("retrieval", as_json) as write:
        from divspa.bench.retrieval import Asked
        from divspa.bench.retrieval import bench_retrieval as measure

        write(measure(Asked(users, items, dim, top_k, plan, recall_floor, peer_users, scaling, seed), listed(peer)))


def bench_augment(
    pairs: Annotated[int, typer.Option(min=1, help="About so many positive pairs.")] = 100_000,
    users: Annotated[int, typer.Option(help="0: a tenth of the pairs.")] = 0,
    items: Annotated[int, typer.Option(help="0: a fiftieth of the pairs.")] = 0,
    dim: Annotated[int, typer.Option(min=1)] = 32,
    peer: Annotated[str, typer.Option(help="Comma-separated: in_memory.")] = "in_memory",
    seed: int = 17,
    as_json: AsJson = False,
) -> None:
    """The stage `augment`, from embeddings to the committed table, beside the same work without Spark and Delta."""
    with measuring("augment", as_json) as write:
        from divspa.bench.augment import bench_augment as measure

        sizes = users or -(-pairs // 10), items or -(-pairs // 50)
        write(measure(pairs, *sizes, dim, listed(peer), seed))


def bench_linear(
    items: Annotated[int, typer.Option(min=100)] = 42_000,
    clicks: Annotated[int, typer.Option(min=1000)] = 1_000_000,
    dense: Annotated[int, typer.Option(min=1, help="linear.max_dense_items")] = 10_000,
    seed: int = 17,
    as_json: AsJson = False,
) -> None:
    """The stage `train_linear`, from clicks to the committed table, beside EASE of numpy and scipy in one process."""
    with measuring("linear", as_json) as write:
        from divspa.bench.linear import bench_linear as measure

        write(measure(items, clicks, min(dense, items), seed))


def bench_serving(
    items: Annotated[int, typer.Option(min=100)] = 420_000,
    requests: Annotated[int, typer.Option(min=100)] = 2000,
    dim: Annotated[int, typer.Option(min=1)] = 32,
    k: Annotated[int, typer.Option("--top-k", min=1)] = 100,
    seed: int = 17,
    as_json: AsJson = False,
) -> None:
    """A request to the served bundle on one core, beside FAISS by itself on the same index."""
    with measuring("serving", as_json) as write:
        from divspa.bench.serving import bench_serving as measure

        write(measure(items, requests, dim, k, seed))


def bench_training(
    examples: Annotated[int, typer.Option(min=1)] = 400_000,
    items: Annotated[int, typer.Option(min=1)] = 42_000,
    users: Annotated[int, typer.Option(min=1, help="Values of the field of the user's own id.")] = 100_000,
    batch_size: Annotated[int, typer.Option(min=1)] = 1024,
    model: str = "youtube_dnn",
    peer: Annotated[str, typer.Option(help="Comma-separated: torch_rechub.")] = "",
    larger: Annotated[int, typer.Option(min=0, help="Compare a step with that of so many users.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    seed: int = 17,
    as_json: AsJson = False,
) -> None:
    """Training through petastorm, beside the same training on tensors in memory, which alone is timed where there is no
    petastorm.
    """
    if device not in ("cpu", "cuda"):
        raise ConfigError("The option --device is unknown", expected="cpu or cuda", found=device)
    with measuring("training", as_json) as write:
        from divspa.bench.training import bench_training as measure

        write(measure(examples, items, users, batch_size, model, listed(peer), larger, device, seed))


def bench_features(
    clicks: Annotated[int, typer.Option(min=1000)] = 1_000_000,
    seed: int = 17,
    as_json: AsJson = False,
) -> None:
    """A generated log to `examples`, beside DuckDB on the same files."""
    with measuring("features", as_json) as write:
        from divspa.bench.features import bench_features as measure

        write(measure(clicks, seed))


def bench_scale(
    out: Annotated[Path, typer.Option(help="Where logs and lakes of all parts lie.")],
    preset: Annotated[str, typer.Option(help="vfeeds or video: the sizes of the paper's Table 2.")] = "vfeeds",
    part: Annotated[float, typer.Option(min=0.0001, max=1, help="The share of the log to run.")] = 0.01,
    first: Annotated[str | None, typer.Option("--from", help="First stage to run.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last stage to run.")] = None,
    as_json: AsJson = False,
) -> None:
    """Every stage of a day on a part of a log of the paper's size, beside smaller parts; it goes on where it ended."""
    with measuring("scale", as_json) as write:
        from divspa.bench.scale import bench_scale as measure

        write(measure(preset, part, out, first, last))


@contextmanager
def measuring(name: str, as_json: bool) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Run a benchmark, whose result alone goes to stdout: on one line, or indented to be read."""
    with results_alone_on_stdout(True) as write, step(f"bench {name}"):
        yield lambda result: write(json.dumps(result, indent=None if as_json else 2))
