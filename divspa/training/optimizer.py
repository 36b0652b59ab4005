"""Adam that touches only the embedding rows of a batch, so that a step costs the same for any vocabulary."""

import torch

BETAS, EPSILON = (0.9, 0.999), 1e-8


class RowAdam(torch.optim.Optimizer):
    """Adam (Kingma and Ba 2015); of a sparse gradient only the rows that it names are read and written.

    A row's moments stay as they are while no batch holds it, as in torch's SparseAdam, at less than half the time.
    Weight decay is decoupled and falls on the dense parameters only.
    """

    def __init__(self, parameters, learning_rate: float, weight_decay: float = 0.0) -> None:
        super().__init__(parameters, {"lr": learning_rate, "weight_decay": weight_decay})
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter] = {
                    "step": torch.zeros((), dtype=torch.int64),
                    "mean": torch.zeros_like(parameter),
                    "square": torch.zeros_like(parameter),
                }

    def set_rate(self, learning_rate: float) -> None:
        """Take this rate from the next step on."""
        for group in self.param_groups:
            group["lr"] = learning_rate

    @torch.no_grad()
    def step(self, closure=None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)

    def _move(self, parameter: torch.Tensor, gradient: torch.Tensor, group: dict) -> None:
        state = self.state[parameter]
        state["step"] += 1
        mean, square = state["mean"], state["square"]
        if not gradient.is_sparse:
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.sub_(_update(mean, square, gradient, int(state["step"]), group["lr"]))
            return
        rows, values = summed_rows(gradient)
        row_mean, row_square = mean.index_select(0, rows), square.index_select(0, rows)
        change = _update(row_mean, row_square, values, int(state["step"]), group["lr"])
        mean.index_copy_(0, rows, row_mean)
        square.index_copy_(0, rows, row_square)
        parameter.index_copy_(0, rows, parameter.index_select(0, rows) - change)


def summed_rows(gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The rows of a sparse gradient and their sums: each once on a CPU, in half of the time of `coalesce`."""
    rows_M, values_MD = gradient._indices()[0], gradient._values()
    if gradient.is_coalesced():
        return rows_M, values_MD
    if gradient.device.type != "cpu":
        return summed_rows_unseen(rows_M, values_MD)
    rows, place = torch.unique(rows_M, return_inverse=True)
    return rows, values_MD.new_zeros(len(rows), values_MD.shape[1]).index_add_(0, place, values_MD)


def summed_rows_unseen(rows_M: torch.Tensor, values_MD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """M rows and their sums, without knowing how many of them differ: to know, the host would wait for a GPU.

    The places that are left over repeat the first row and its sum. Sums are the same in every run.
    """
    sorted_M, order_M = rows_M.sort(stable=True)
    begins_M = torch.ones_like(sorted_M, dtype=torch.bool)
    begins_M[1:] = sorted_M[1:] != sorted_M[:-1]
    place_M = begins_M.cumsum(0) - 1
    rows_M = sorted_M[:1].expand_as(sorted_M).scatter(0, place_M, sorted_M)
    lengths_M = torch.zeros_like(sorted_M).scatter_add(0, place_M, torch.ones_like(sorted_M))
    sums_MD = torch.segment_reduce(values_MD[order_M], "sum", lengths=lengths_M, axis=0, unsafe=True)
    return rows_M, torch.where(lengths_M.unsqueeze(1) > 0, sums_MD, sums_MD[:1])


def _update(
    mean: torch.Tensor, square: torch.Tensor, gradient: torch.Tensor, step: int, learning_rate: float
) -> torch.Tensor:
    """Move both moments in place, and return what to subtract."""
    first, second = BETAS
    mean.lerp_(gradient, 1 - first)
    square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
    size = learning_rate * (1 - second**step) ** 0.5 / (1 - first**step)
    return size * mean / (square.sqrt() + EPSILON)
