"""The short form of the chaos journey; `make chaos` runs the long one."""

from pathlib import Path

from tests.chaos.journey import staged, unix_time
from tests.chaos.plan import CALMING, FAILURES, plan, things
from tests.chaos.proof import prove, told_after_the_record
from tests.chaos.targets import Receipt


def test_nothing_is_lost_whatever_is_killed_cut_or_made_to_fail(tmp_path: Path) -> None:
    with staged(7, tmp_path, operations=60, seconds=15) as journey:
        journey.run()
        findings = prove(journey)
    assert findings.wrong == ()
    assert findings.lost == 0
    assert findings.faults >= 25
    assert findings.refused > 0
    assert findings.by_event > 0
    assert findings.causes > 0


def test_a_seed_always_gives_the_same_faults_and_every_fault_is_ended() -> None:
    assert plan(3, 30) == plan(3, 30) != plan(4, 30)
    events = plan(3, 30)
    lasting = [event for event in events if event.lasts_s]
    assert len(lasting) > 20
    for fault in lasting:
        ends = [end for end in events if (end.at_s, end.what) == (fault.at_s + fault.lasts_s, fault.what)]
        assert [end.act in CALMING for end in ends] == [True]


def test_a_seed_always_mixes_the_same_things_of_every_kind_with_every_end() -> None:
    mixed = things(3, 400, 60)
    assert mixed == things(3, 400, 60) != things(4, 400, 60)
    assert {(each.kind, each.failure) for each in mixed} >= {
        (kind, end) for kind, failures in FAILURES.items() for end in ("", *failures)
    }
    assert {each.output_bytes for each in mixed if each.failure} == {0, 9_000, 20_000_000}
    assert {each.kind for each in mixed if each.by_event} == {"deployment"}


def test_a_message_that_comes_after_its_delivery_was_recorded_is_found() -> None:
    shown = {"deliveries": [{"target": "ledger", "delivered_at": "2026-03-02T08:18:37.000Z"}]}
    recorded_at = unix_time("2026-03-02T08:18:37.000Z")
    in_time, late = (Receipt("/ledger", "chaos-1-1", "id", b"{}", recorded_at + after_s) for after_s in (-0.01, 2.0))
    assert list(told_after_the_record(shown, "ledger", [in_time])) == []
    assert len(list(told_after_the_record(shown, "ledger", [in_time, late]))) == 1
    assert list(told_after_the_record(shown, "slack", [late])) == []
