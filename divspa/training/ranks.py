"""The processes of one training: who they are, and how their gradients become one."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist

from divspa.data.batches import ALONE, Shard


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together; a process alone has rank 0 of 1 and never communicates."""

    shard: Shard = ALONE

    @classmethod
    def current(cls) -> "Ranks":
        """As torch.distributed knows them, or one process alone."""
        return cls(Shard(dist.get_rank(), dist.get_world_size())) if dist.is_initialized() else cls()

    @property
    def first(self) -> bool:
        """Whether this process writes what only one may write."""
        return self.shard.rank == 0

    def average_gradients(self, parameters: Iterable[torch.Tensor]) -> None:
        """Replace every gradient by the mean over the processes; a sparse one travels as its rows alone."""
        if self.shard.world == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            if parameter.grad.is_sparse:
                parameter.grad = self._mean_of_rows(parameter.grad.coalesce())
            else:
                dist.all_reduce(parameter.grad)
                parameter.grad /= self.shard.world

    def agreed(self, value: bool) -> bool:
        """What the first process says."""
        if self.shard.world == 1:
            return value
        told = torch.tensor([int(value)])
        dist.broadcast(told, 0)
        return bool(told.item())

    def mean(self, value: float) -> float:
        """The mean of a figure over the processes."""
        if self.shard.world == 1:
            return value
        total = torch.tensor([value], dtype=torch.float64)
        dist.all_reduce(total)
        return float(total.item() / self.shard.world)

    def _mean_of_rows(self, gradient: torch.Tensor) -> torch.Tensor:
        rows, values = gradient.indices()[0], gradient.values() / self.shard.world
        count = torch.tensor([len(rows)])
        counts = [torch.zeros_like(count) for _ in range(self.shard.world)]
        dist.all_gather(counts, count)
        most = int(max(counts).item())
        padded_rows = torch.nn.functional.pad(rows, (0, most - len(rows)))
        padded_values = torch.nn.functional.pad(values, (0, 0, 0, most - len(values)))
        all_rows = [torch.empty_like(padded_rows) for _ in counts]
        all_values = [torch.empty_like(padded_values) for _ in counts]
        dist.all_gather(all_rows, padded_rows)
        dist.all_gather(all_values, padded_values)
        sizes = [int(size.item()) for size in counts]
        joined = torch.cat([part[:size] for part, size in zip(all_rows, sizes, strict=True)])
        summed = torch.cat([part[:size] for part, size in zip(all_values, sizes, strict=True)])
        return torch.sparse_coo_tensor(joined.unsqueeze(0), summed, gradient.shape)
