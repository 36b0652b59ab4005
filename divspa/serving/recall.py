"""Candidates for a user as they stand in the log, from a bundle: numpy, pyarrow, faiss and torch, and nothing else."""

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from divspa.encoding.codes import Codes
from divspa.errors import InputError
from divspa.schemas.vocabulary import ITEM_FIELD
from divspa.serving.bundle import CATALOGUE, INDEX, ITEM_IDS, USER_TOWER, Bundle
from divspa.serving.encoder import Click, Encoder, Request, Rules

# Two machines' floating point differ in the last places of a float32.
CLOSE = 1e-4


@dataclass(frozen=True)
class Candidates:
    """Items, best first, with their scores s(u, v), and the version of the bundle that all of it is from."""

    item_ids: list[str]
    scores: list[float]
    version: str


class Recall:
    """A bundle in memory. Nothing of it changes, so that threads may share it; see `Served` for new versions.

    Libraries compute with as many threads as the process gives them: one is fastest for a request at a time
    (`torch.set_num_threads(1)`, `faiss.omp_set_num_threads(1)`).
    """

    def __init__(self, bundle: Bundle) -> None:
        import faiss  # heavy libraries come with the first bundle, not with the import

        from divspa.serving.index import Searcher

        self.manifest = manifest = bundle.manifest
        self.version: str = bundle.version
        self.encoder = _encoder(bundle)
        self.names = {index: item for item, index in self.encoder.items.items()}
        self.tower = _tower(bundle.files[USER_TOWER])
        index = faiss.deserialize_index(np.frombuffer(bundle.files[INDEX], np.uint8))
        exact_items = manifest["index"]["exact_items"]
        lists = {None: ITEM_IDS} | {name: told["file"] for name, told in manifest["allowed"].items()}
        self.searchers = {
            name: Searcher(index, bundle.table(file)["item_index"].to_numpy(), exact_items)
            for name, file in lists.items()
        }

    @classmethod
    def load(cls, folder: str) -> "Recall":
        """Load the bundle in a folder, local or of S3: `serving/ds=DAY/VERSION`, or the newest of `serving/ds=DAY`.

        Raises MissingTableError where there is none, and DamagedError when a file is not what the manifest says, or
        the example of the manifest has another answer here.
        """
        bundle = Bundle.read(folder)
        recall = cls(bundle)
        recall.check(folder)
        return recall

    def candidates(
        self,
        fields: Mapping[str, object] | None = None,
        clicks: Sequence[Click] = (),
        k: int = 100,
        *,
        exclude: Sequence[object] = (),
        allowed: str | None = None,
        new_only: bool = True,
    ) -> Candidates:
        """The k best items for a user; fewer only where fewer are left.

        Left out are the items of `exclude` and, with `new_only`, those of `clicks`. `allowed` names a published list
        of items, which the manifest holds; by default every item of the index. Raises InputError for a field or list
        that there is not, and for values that no log could hold.
        """
        if allowed not in self.searchers:
            known = [name for name in self.searchers if name]
            raise InputError(f"There is no list {allowed}", expected=", ".join(known) or "none, as none is published")
        if k < 1:
            raise InputError("A request asks for no items", expected="k of 1 or more", found=str(k))
        request = Request(fields or {}, clicks)
        clicked = self.encoder.clicked(request)
        vector_D = self.tower(*self.encoder.encode([request], [clicked]))[0]
        out = {*self.encoder.indices_of(exclude), *(clicked if new_only else ())}
        ids, scores = self.searchers[allowed].search(vector_D, k, out)
        return Candidates([self.names[item] for item in ids.tolist()], scores.tolist(), self.version)

    def vectors(self, requests: Sequence[Request]) -> np.ndarray:
        """The vectors of users [B, D], as the table `user_embeddings` has them."""
        return self.tower(*self.encoder.encode(requests))

    def check(self, folder: str) -> None:
        """Raise DamagedError when the manifest's example has another answer here."""
        from divspa.errors import DamagedError

        example = self.manifest.get("example")
        if example is None:
            return
        found = self.vectors([Request(example["request"]["fields"], example["request"]["clicks"])])[0]
        apart = float(np.abs(found - np.asarray(example["vector"], np.float32)).max())
        if not apart <= CLOSE * max(1.0, float(np.abs(found).max())):
            raise DamagedError(
                f"The example of the bundle {folder} has another answer on this machine",
                expected=f"the same vector, to {CLOSE}",
                found=f"{apart} apart",
                remedy="install the versions that the manifest names under `made_with`",
            )


class Served:
    """The recall that a service answers from. A new one takes its place at once: each answer is of one version."""

    def __init__(self, folder: str) -> None:
        self._recall = Recall.load(folder)

    @property
    def recall(self) -> Recall:
        """The one of this moment; who asks it twice for one answer keeps it meanwhile."""
        return self._recall

    def reload(self, folder: str) -> Recall:
        """Load another bundle beside the present one, which answers meanwhile, and put it in its place.

        Raises as `Recall.load`, and then the present one stays.
        """
        self._recall = Recall.load(folder)
        return self._recall


def _encoder(bundle: Bundle) -> Encoder:
    rules = Rules.of_json(bundle.manifest["request"])
    catalogue = bundle.table(CATALOGUE)
    items = dict(zip(catalogue["item_id"].to_pylist(), catalogue["item_index"].to_pylist(), strict=True))
    codes = {}
    for rule in rules.fields:
        if rule.file is not None:
            rows = bundle.table(rule.file)
            codes[rule.name] = Codes(rows["hash"].to_numpy(), rows["index"].to_numpy())
    item_codes = {}
    size = max(items.values(), default=0) + 1
    for sequence in rules.sequences:
        if sequence.file is None:
            item_codes[sequence.name] = np.arange(size, dtype=np.int32)[:, None]
            continue
        rows = bundle.table(sequence.file)
        flat = rows["codes"].combine_chunks().flatten().to_numpy()
        matrix = np.zeros((size, len(flat) // max(len(rows), 1)), np.int32)
        matrix[rows["item_index"].to_numpy()] = flat.reshape(len(rows), -1)
        item_codes[sequence.name] = matrix
    assert all(sequence.file is not None or sequence.of == ITEM_FIELD for sequence in rules.sequences)
    return Encoder(rules, codes, items, item_codes)


def _tower(archive: bytes) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The user tower as a function of arrays."""
    import torch

    with warnings.catch_warnings():
        # The weights lie in the archive's bytes, which nobody writes to.
        warnings.filterwarnings("ignore", message="The given buffer is not writable")
        module = torch.export.load(io.BytesIO(archive)).module()

    def encode(features_BF: np.ndarray, history_BL: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(torch.from_numpy(features_BF), torch.from_numpy(history_BL)).numpy()

    return encode
