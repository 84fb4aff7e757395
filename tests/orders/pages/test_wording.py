"""Every status has words, and they promise nothing that the lifecycle forbids."""

import pytest

from orders import lifecycle
from orders.lifecycle import Status
from orders.pages import wording


def test_every_status_has_words():
    assert wording.WORDS.keys() == set(Status)
    assert len({words.label for words in wording.WORDS.values()}) == len(Status)


@pytest.mark.parametrize("status", Status)
def test_the_step_that_a_customer_may_expect_is_a_legal_one(status: Status):
    following = wording.WORDS[status].following
    assert following is None or lifecycle.is_legal(status, following)


@pytest.mark.parametrize("status", Status)
def test_what_lies_ahead_comes_to_an_end(status: Status):
    ahead = wording.ahead(status)
    assert not ahead or ahead[-1] == wording.WORDS[Status.DELIVERED]


@pytest.mark.parametrize("status", sorted(lifecycle.FINAL))
def test_after_a_final_status_nothing_lies_ahead(status: Status):
    assert wording.ahead(status) == []
