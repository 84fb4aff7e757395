"""The lifecycle against the contract's sentences, written out here a second time and not read from the code."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orders.lifecycle import FINAL, Status, allowed, is_legal

# One row for each status that is left, one column for each that is entered, x for a legal step.
TABLE = """
                  pending processing on_hold shipped out_for_delivery ready_for_pickup delivered cancelled returned
pending                -       x        x       x           x                -            x         x         -
processing             -       -        x       x           x                x            x         x         -
on_hold                x       x        -       -           -                -            -         x         -
shipped                -       -        -       -           x                x            x         -         x
out_for_delivery       -       -        -       x           -                x            x         -         x
ready_for_pickup       -       -        -       -           -                -            x         x         x
delivered              -       -        -       -           -                -            -         -         x
cancelled              -       -        -       -           -                -            -         -         -
returned               -       -        -       -           -                -            -         -         -
"""
_head, *_rows = [line.split() for line in TABLE.strip().splitlines()]
STEPS = {(row[0], to): mark == "x" for row in _rows for to, mark in zip(_head, row[1:], strict=True)}


def test_the_contract_and_the_code_know_the_same_statuses():
    assert set(Status.values) == set(_head) == {row[0] for row in _rows}


@pytest.mark.parametrize(("status", "to"), STEPS, ids=[f"{status}-to-{to}" for status, to in STEPS])
def test_a_step_is_legal_where_the_contract_says_so(status: str, to: str):
    assert is_legal(status, to) == STEPS[status, to]


@pytest.mark.parametrize("status", Status.values)
def test_the_allowed_steps_are_exactly_the_legal_ones(status: str):
    assert sorted(allowed(status)) == sorted(to for to in Status.values if STEPS[status, to])


def test_cancelled_and_returned_are_final_and_nothing_else_is():
    assert {str(status) for status in FINAL} == {"cancelled", "returned"}


def test_every_status_can_be_reached_from_pending_and_every_order_can_end():
    def reached_from(status: str) -> set[str]:
        seen, todo = {status}, [status]
        while todo:
            new = set(allowed(todo.pop())) - seen
            seen |= new
            todo += new
        return seen

    assert reached_from("pending") == set(Status.values)
    for status in Status.values:
        assert reached_from(status) & {"cancelled", "returned"}


@given(wishes=st.lists(st.sampled_from(Status.values), max_size=30))
def test_whatever_is_asked_for_an_order_never_leaves_a_final_status(wishes: list[str]):
    status, ended_as = "pending", None
    for wish in wishes:
        if is_legal(status, wish):
            assert ended_as is None
            status = wish
            ended_as = status if status in ("cancelled", "returned") else None
    assert ended_as in (None, status)


def test_an_unknown_status_is_an_error_and_not_merely_illegal():
    with pytest.raises(ValueError, match="lost"):
        is_legal("pending", "lost")
