import resource
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch

from divspa.training.allocator import reused_memory

MIB = 1 << 20


def faults_of_steps(mib: int) -> int:
    """Pages that the kernel had to clear in ten steps of two tensors of so many MiB, after ten for malloc to settle."""

    def steps() -> None:
        for _ in range(10):
            torch.ones(mib * MIB // 4).add(torch.ones(mib * MIB // 4))

    steps()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    steps()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def faults_before_inside_and_after() -> tuple[int, int, int, int]:
    plain, larger = faults_of_steps(40), faults_of_steps(150)
    with reused_memory():
        reused = faults_of_steps(40)
    return plain, larger, reused, faults_of_steps(150)


def test_a_step_reuses_the_memory_of_the_last() -> None:
    """In a process of its own, because what ran before may have left holes in the heap, which need no new pages."""
    with ProcessPoolExecutor(1, get_context("spawn")) as own:
        plain, larger, reused, after = own.submit(faults_before_inside_and_after).result()
    assert reused < plain / 10
    # Outside it is as before, asked with tensors too large for a hole that the steps inside leave.
    assert after > larger / 2
