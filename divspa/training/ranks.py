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

    def gathered(self, values_B: torch.Tensor) -> torch.Tensor:
        """The values of all processes, laid end to end; each may have another number of them."""
        if self.shard.world == 1:
            return values_B
        return torch.cat(self._all_gather(values_B))

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
        rows = torch.cat(self._all_gather(gradient.indices()[0]))
        values = torch.cat(self._all_gather(gradient.values() / self.shard.world))
        return torch.sparse_coo_tensor(rows.unsqueeze(0), values, gradient.shape)

    def _all_gather(self, values: torch.Tensor) -> list[torch.Tensor]:
        """The tensors of all processes, which may differ in their first size."""
        length = torch.tensor([len(values)], device=values.device)
        lengths = [torch.zeros_like(length) for _ in range(self.shard.world)]
        dist.all_gather(lengths, length)
        sizes = [int(size.item()) for size in lengths]
        padded = values.new_zeros(max(sizes), *values.shape[1:])
        padded[: len(values)] = values
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return [part[:size] for part, size in zip(parts, sizes, strict=True)]
