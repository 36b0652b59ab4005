import resource

import torch

from divspa.training.allocator import reused_memory

MIB = 1 << 20


def faults_of_steps() -> int:
    """Pages that the kernel had to clear in ten steps of two tensors of 40 MiB, after a first step."""

    def step() -> None:
        torch.ones(10 * MIB).add(torch.ones(10 * MIB))

    step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_a_step_reuses_the_memory_of_the_last() -> None:
    plain = faults_of_steps()
    with reused_memory():
        reused = faults_of_steps()
    assert reused < plain / 10
    assert faults_of_steps() > plain / 2  # outside it is as before
