"""A Ray cluster and an S3 server for the tests of this folder, both on this machine."""

from __future__ import annotations

import logging
import os
from itertools import count
from pathlib import Path
from threading import Thread

import pytest
from tests.pictures import write_discs
from tests.requirements import need

from msde.cluster.cluster import SETTINGS

FAULTY = Path(__file__).parent / "faulty"


class FlakyServer:
    """An S3 server that fails every twentieth read, in turn with an error and in the middle of the content."""

    def __init__(self) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.port}"
        self.failing, self.failed = False, 0
        self._reads = count()
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _answer(self, environ, start_response):
        reads = environ["REQUEST_METHOD"] == "GET" and environ["PATH_INFO"].endswith(".png")
        number = next(self._reads) if self.failing and reads else 0
        if number % 20 != 19:
            return self._app(environ, start_response)
        self.failed += 1
        if number % 40 == 19:
            start_response("503 Slow Down", [("Content-Length", "0")])
            return []
        start_response("200 OK", [("Content-Length", "100000"), ("Content-Type", "image/png")])
        return [b"\x89PNG"]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """What the processes of the cluster find around them: credentials, and the faults that tests ask for."""
    need("ray")
    server = FlakyServer()
    faults = tmp_path_factory.mktemp("faults")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", server.url)
        patch.setenv("MSDE_TEST_FAULTS", str(faults))
        yield server, faults
    server.close()


@pytest.fixture(scope="session")
def server(environment):
    return environment[0]


@pytest.fixture(scope="session")
def faults(environment):
    return environment[1]


def start_faulty(patch: pytest.MonkeyPatch) -> None:
    """Let processes that start from now on have the faults; no others of the session may."""
    patch.setenv("PYTHONPATH", os.pathsep.join([str(FAULTY), os.environ.get("PYTHONPATH", "")]))


@pytest.fixture
def faulty(faults, monkeypatch):
    """Processes that the test starts have the faults."""
    start_faulty(monkeypatch)


@pytest.fixture(scope="session")
def address(environment):
    """A running cluster with room for four workers."""
    import ray

    os.environ |= SETTINGS
    with pytest.MonkeyPatch.context() as patch:
        start_faulty(patch)
        context = ray.init(
            num_cpus=4,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            object_store_memory=100 * 2**20,
            _node_ip_address="127.0.0.1",
        )
    yield context.address_info["gcs_address"]
    ray.shutdown()


@pytest.fixture(scope="session")
def discs(tmp_path_factory):
    root = tmp_path_factory.mktemp("discs")
    write_discs(root / "train", 40)
    write_discs(root / "new", 30, seed=1)
    write_discs(root / "abnormal", 6, seed=2, lesion=True)
    return root


@pytest.fixture(scope="session")
def model_file(discs, plain_model):
    path = discs / "discs.msde"
    plain_model.save(path)
    return path
