"""A Ray cluster: one that runs at an address, or one started on this machine for as long as it is needed."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from msde.errors import MSDEError
from msde.method.parallel import available_cores

LOCAL = "local"
STORE_BYTES = 128 * 2**20
"""Memory that a local cluster shares between its processes: part numbers and summaries need little."""

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_TQDM_PATCH_PRINT": "0",  # Numba cannot compile the function that Ray would put in place of Python's own
}
"""What Ray finds in the environment, where nothing else is set."""

_NEEDED = ("ray", "pyarrow", "fsspec")


@dataclass(frozen=True)
class Cluster:
    """Where the workers run, how many, and where they put the parts."""

    parts: str  # folder for the parts, on a disk that all nodes share or in object storage such as s3://bucket/folder
    address: str = LOCAL  # of the head node, such as 10.0.0.1:6379, or auto; "local" starts a cluster on this machine
    workers: int | None = None  # processes; by default one for each processor, or for each share of a GPU
    gpus: float = 0  # that a worker has to itself, such as 1 or 0.25; the networks run there
    part_rows: int = 1000  # images a part

    @property
    def device(self) -> str:
        """Where the networks run."""
        return "cuda" if self.gpus else "cpu"

    @contextmanager
    def running(self) -> Iterator[int]:
        """Join the cluster or start it, and yield the number of workers; one that was joined goes on afterwards.

        Raises MSDEError if Ray is missing, nothing answers at the address, or the cluster has too little for a worker.
        """
        check_libraries()
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        import ray

        ours = not ray.is_initialized()
        if ours:
            self._join()
        try:
            yield self._size(ray.cluster_resources())
        finally:
            if ours:
                ray.shutdown()

    def _join(self) -> None:
        import ray

        quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
        if self.address == LOCAL:
            cores = max(self.workers or 1, available_cores())
            # The loopback address: a machine without a network has no other.
            ray.init(
                num_cpus=cores,
                include_dashboard=False,
                object_store_memory=STORE_BYTES,
                _node_ip_address="127.0.0.1",
                **quiet,
            )
            return
        try:
            ray.init(address=self.address, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise MSDEError(
                f"{self.address}: no Ray cluster answers there ({str(error).splitlines()[0]}); start one with"
                " `ray start --head`, or give --ray local"
            ) from error

    def _size(self, resources: dict[str, float]) -> int:
        cpus, gpus = int(resources.get("CPU", 0)), resources.get("GPU", 0.0)
        most = min(cpus, int(gpus / self.gpus + 1e-9)) if self.gpus else cpus
        if most < max(1, self.workers or 1):
            raise MSDEError(
                f"the cluster has room for {most} workers ({cpus} processors, {gpus:g} GPUs), not for"
                f" {self.workers or 1}; give fewer --workers or another --gpus, or add nodes"
            )
        return self.workers or most


def check_libraries() -> None:
    """Check that the libraries that a cluster needs are there; raise MSDEError if one is missing."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise MSDEError(f"--ray needs {missing[0]}; run `pip install 'msde[ray]'`")
