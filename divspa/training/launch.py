"""Where a training runs: in this process, or in several that Spark starts on its executors."""

import gc
import time

import torch.distributed as dist
from pyspark.ml.torch.distributor import TorchDistributor
from pyspark.sql import SparkSession

from divspa.errors import TrainingError
from divspa.training.fit import Job, Report, chosen_device, fit
from divspa.training.resume import Progress

AT_REST = 0.5


def launch(spark: SparkSession, job: Job, report: Report) -> Progress:
    """Train with `training.processes` processes; more than one are started by Spark as one barrier stage.

    Each takes a Spark task, so a cluster must have that many cores free; on a local master they run beside the driver.
    """
    if job.training.processes == 1:
        return fit(job, report)
    local = (spark.sparkContext.master or "").startswith("local[")
    use_gpu = chosen_device(job.training.device).type == "cuda"
    distributor = TorchDistributor(num_processes=job.training.processes, local_mode=local, use_gpu=use_gpu)
    progress = distributor.run(fit_rank, job)
    if not isinstance(progress, Progress):
        raise TrainingError("The training's processes ended without a result", remedy="look at the executors' logs")
    return progress


def fit_rank(job: Job) -> Progress:
    """One of several processes: join the others and train. Returns the progress, of which the first process' counts."""
    # Gradients may lie on GPUs, while what the processes agree on is the hosts'.
    dist.init_process_group("cpu:gloo,cuda:nccl" if chosen_device(job.training.device).type == "cuda" else "gloo")
    try:
        progress = fit(job)
        dist.barrier()  # a process that leaves while another still talks to it takes that one down
        return progress
    finally:
        dist.destroy_process_group()
        # A thread of gloo or Arrow that lets go of a Python object while the interpreter ends takes the process down,
        # also after all went well (pytorch#179291, apache/arrow#34314): these threads get the time to come to rest.
        gc.collect()
        time.sleep(AT_REST)
