from __future__ import annotations

from msde.serve.storage.database import Database
from msde.serve.storage.dicom_ledger import DicomLedger
from msde.serve.storage.outbox import ATTEMPTS


def test_what_is_noted_is_there_for_all_who_ask(database: Database) -> None:
    ledger = DicomLedger(database)
    assert ledger.find("1.2") is None
    ledger.note("1.2", "refused")
    ledger.note("1.2", "taken", "a", "b")
    ledger.settle("a", "1", 2)
    ledger.settle("a", "1", 3)
    again = DicomLedger(database)
    found = again.find("1.2")
    assert found is not None
    assert (found.fate, found.pixels, found.digest) == ("taken", "a", "b")
    assert again.has("taken", "a")
    assert not again.has("own", "a")
    assert (again.n_settled("a", "1"), again.n_settled("b", "1")) == (3, None)


def test_a_failure_waits_and_is_given_up_in_the_end_until_it_is_revived(database: Database) -> None:
    ledger = DicomLedger(database)
    assert ledger.may_try("a", "1.2")
    ledger.settle("a", "1", 3)
    for _ in range(ATTEMPTS):
        assert ledger.dead(9) == []
        ledger.fail("a", "1.2", "1", "no")
        assert not ledger.may_try("a", "1.2")
    assert ledger.may_try("a", "1.2") is None
    assert [(one.pacs, one.attempts, one.error) for one in ledger.dead(9)] == [("a", ATTEMPTS, "no")]
    assert ledger.revive() == 1
    assert ledger.may_try("a", "1.2")
    assert ledger.dead(9) == []
    assert ledger.n_settled("a", "1") is None, "the series has to be looked into again"


def test_what_came_after_all_is_no_failure(database: Database) -> None:
    ledger = DicomLedger(database)
    for _ in range(ATTEMPTS):
        ledger.fail("a", "1.2", "1", "no")
    ledger.note("1.2", "refused", for_good=False)
    assert len(ledger.dead(9)) == 1
    ledger.note("1.2", "taken")
    assert ledger.dead(9) == []
