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
        parameter.index_add_(0, rows, change, alpha=-1)


def summed_rows(gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The rows of a sparse gradient, each once, and their sums; on a CPU in half of the time of `coalesce`."""
    if gradient.is_coalesced() or gradient.device.type != "cpu":
        gradient = gradient.coalesce()
        return gradient.indices()[0], gradient.values()
    values = gradient._values()
    rows, place = torch.unique(gradient._indices()[0], return_inverse=True)
    return rows, values.new_zeros(len(rows), values.shape[1]).index_add_(0, place, values)


def _update(
    mean: torch.Tensor, square: torch.Tensor, gradient: torch.Tensor, step: int, learning_rate: float
) -> torch.Tensor:
    """Move both moments in place, and return what to subtract."""
    first, second = BETAS
    mean.lerp_(gradient, 1 - first)
    square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
    size = learning_rate * (1 - second**step) ** 0.5 / (1 - first**step)
    return size * mean / (square.sqrt() + EPSILON)
