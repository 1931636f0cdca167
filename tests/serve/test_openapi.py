"""Whatever the interface is asked, it never fails: requests made from its own description."""

from contextlib import suppress

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from tests.requirements import THOROUGH
from tests.serve.conftest import png
from tests.serve.process import Process

pytestmark = pytest.mark.slow
EXAMPLES = 10 if THOROUGH else 3


def test_no_request_leads_to_a_server_error(disc_model, tmp_path):
    with Process(disc_model, tmp_path / "data") as process:
        for seed in range(3):
            process.ask("POST", "/api/images", content=png(seed))
        process.rows()
        schema = schemathesis.openapi.from_url(f"{process.url}/api/openapi.json", headers=process.headers)
        operations = [result.ok() for result in schema.get_all_operations()]
        operations = [operation for operation in operations if operation.path != "/api/events"]  # which never ends
        for operation in operations:
            ask(operation, GenerationMode.POSITIVE, process.headers)
            with suppress(Unsatisfiable):  # where nothing is asked for, nothing can be wrong
                ask(operation, GenerationMode.NEGATIVE, process.headers)
        process.stop()
        assert len(operations) > 20
        assert '"a request failed"' not in process.log.read_text()


def ask(operation, mode: GenerationMode, headers: dict[str, str]) -> None:
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case):
        case.call_and_validate(headers=headers, checks=[not_a_server_error])

    check()
