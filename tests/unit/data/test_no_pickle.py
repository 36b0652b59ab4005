"""Nothing that lies in the lake is unpickled: neither by petastorm, nor by us."""

import ast
import pickle
from pathlib import Path

import petastorm.etl.legacy
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from petastorm.etl.dataset_metadata import UNISCHEMA_KEY, get_schema
from petastorm.etl.rowgroup_indexing import ROWGROUPS_INDEX_KEY, get_row_group_indexes

import divspa.data.petastorm_fixes  # noqa: F401, which replaces what unpickles
from divspa.data.batches import read_batches
from divspa.errors import InputError

ROOT = Path(__file__).parents[3]


class Trap:
    """A pickle that writes a file when it is read, through builtins, which petastorm takes to be safe."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple:
        return exec, (f"open({str(self.file)!r}, 'w')",)


@pytest.fixture
def trapped(tmp_path: Path) -> pq.ParquetDataset:
    """A folder of one file beside which petastorm's metadata lies, each a trap."""
    lists = pa.array([[1], [2]], pa.list_(pa.int32()))
    columns = {
        "example_id": [1, 2],
        "user_features": lists,
        "history": lists,
        "item_index": pa.array([1, 2], pa.int32()),
    }
    trap = pickle.dumps(Trap(tmp_path / "sprung"))
    rows = pa.table(columns).replace_schema_metadata({UNISCHEMA_KEY: trap, ROWGROUPS_INDEX_KEY: trap})
    folder = tmp_path / "table"
    folder.mkdir()
    pq.write_table(rows, folder / "part.parquet")
    for name in ("_metadata", "_common_metadata"):
        pq.write_metadata(rows.schema, folder / name)
    return pq.ParquetDataset(str(folder), use_legacy_dataset=True)


def test_petastorm_as_it_comes_springs_the_trap(trapped: pq.ParquetDataset, tmp_path: Path) -> None:
    unpickle = petastorm.etl.legacy.depickle_legacy_package_name_compatible
    unpickle(trapped.common_metadata.metadata[UNISCHEMA_KEY])
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize("read", [get_schema, get_row_group_indexes])
def test_petastorm_as_we_use_it_refuses_every_pickle(trapped: pq.ParquetDataset, tmp_path: Path, read) -> None:
    with pytest.raises(InputError, match=r"found a pickle in a folder's .* remove these files"):
        read(trapped)
    assert not (tmp_path / "sprung").exists()


def test_batches_are_read_beside_a_trap_without_a_look_at_it(trapped: pq.ParquetDataset, tmp_path: Path) -> None:
    (batch,) = read_batches([f"file://{tmp_path}/table/part.parquet"], 2, augmented=False, seed=1)
    assert sorted(batch.items_BP[:, 0].tolist()) == [1, 2]
    assert not (tmp_path / "sprung").exists()


UNPICKLING = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}


def test_no_module_of_ours_can_unpickle() -> None:
    found = []
    for file in (*ROOT.glob("divspa/**/*.py"), *ROOT.glob("jobs/*.py"), *ROOT.glob("schemas/*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if UNPICKLING & set(names) or called in ("torch.load", "pd.read_pickle", "pickleFile"):
                found.append(f"{file}: {ast.unparse(node)}")
            if called == "np.load" and any(keyword.arg == "allow_pickle" for keyword in node.keywords):
                found.append(f"{file}: {ast.unparse(node)}")
    assert found == []
