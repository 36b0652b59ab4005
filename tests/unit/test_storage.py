"""Files on an S3 server of the same process (moto), as on a local disk."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer
from s3_server import FAULTS, faltering, s3_server

from divspa.data.batches import read_batches
from divspa.storage import S3, locate, make_folder, read_file, remove, write_file


@pytest.fixture(scope="module")
def server() -> Iterator[ThreadedMotoServer]:
    with s3_server() as server:
        yield server


@pytest.fixture
def bucket(server: ThreadedMotoServer) -> str:
    return "s3a://bucket"


@pytest.mark.parametrize("where", ["disk", "s3"])
def test_small_files_come_and_go(where: str, bucket: str, tmp_path: Path) -> None:
    folder = f"{bucket if where == 's3' else tmp_path}/ds=2024-01-01"
    write_file(f"{folder}/model=a b/x.bin", b"one")
    write_file(f"{folder}/model=a b/x.bin", b"two")
    assert read_file(f"{folder}/model=a b/x.bin") == b"two"
    system, path = locate(folder)
    assert [info.base_name for info in system.get_file_info(pa.fs.FileSelector(f"{path}/model=a b"))] == ["x.bin"]
    remove(folder)
    remove(f"{folder}/nothing")
    with pytest.raises(FileNotFoundError):
        read_file(f"{folder}/model=a b/x.bin")


def test_a_store_that_is_late_refuses_and_hangs_up_is_asked_again(server: ThreadedMotoServer, bucket: str) -> None:
    with faltering(server, 0.25, seconds=0.2) as counts:
        for n in range(40):
            write_file(f"{bucket}/faltering/{n}.bin", b"x" * n)
        sizes = [len(read_file(f"{bucket}/faltering/{n}.bin")) for n in range(40)]
    assert sizes == [*range(40)]
    assert min(counts[fault] for fault in FAULTS) > 0


def test_a_path_may_begin_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_file("ds=2024-01-01/x.bin", b"one")
    assert (
        (tmp_path / "ds=2024-01-01/x.bin").read_bytes() == b"one" == read_file(f"file://{tmp_path}/ds=2024-01-01/x.bin")
    )


def test_a_bucket_is_never_made(bucket: str) -> None:
    make_folder(f"{bucket}/event_logs")
    with pytest.raises(OSError, match="nowhere"):
        make_folder("s3a://nowhere/event_logs")


def test_petastorm_reads_the_same_batches_from_s3(bucket: str, tmp_path: Path) -> None:
    ids = np.arange(50)
    pairs = np.stack([ids, ids], axis=1).astype(np.int32)
    rows = pa.table({"example_id": ids, "user_features": list(pairs), "history": list(pairs), "item_index": ids})
    keys = []
    for url in (f"{bucket}/draw=0/part.parquet", f"file://{tmp_path}/draw=0/part.parquet"):
        content = pa.BufferOutputStream()
        pq.write_table(rows, content, row_group_size=10)
        write_file(url.removeprefix("file://"), content.getvalue().to_pybytes())
        keys.append([batch.keys_B.tolist() for batch in read_batches([url], 16, augmented=False, seed=1)])
    assert keys[0] == keys[1] and sorted(key for batch in keys[0] for key in batch) == ids.tolist()


def test_the_endpoint_of_s3_alone_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("AWS_ENDPOINT_URL", "a"), ("AWS_ENDPOINT_URL_S3", "b"), ("AWS_DEFAULT_REGION", "c")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_REGION", raising=False)
    assert S3.of_environment() == S3("b", "c")
