"""What is remembered is a second old at most, counted from before the question, and is never a guess."""

import pytest
from django.db import transaction

from notifications.access.memory import SECONDS, Memory


class Clock:
    """Shows what it is set to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_an_answer_is_as_old_as_its_question_and_is_kept_for_a_second(clock: Clock):
    memory: Memory[str] = Memory(seconds=clock)

    def slow() -> str:
        clock.now += SECONDS / 2
        return "first"

    assert memory.ask("key", slow) == "first"
    clock.now = SECONDS * 0.99
    assert memory.ask("key", lambda: "second") == "first"
    clock.now = SECONDS
    assert memory.ask("key", lambda: "second") == "second"


def test_what_is_forgotten_while_the_database_is_asked_is_asked_again(clock: Clock):
    memory: Memory[str] = Memory(seconds=clock)

    def overtaken() -> str:
        memory.forget()
        return "as it was"

    assert memory.ask("key", overtaken) == "as it was"
    assert memory.ask("key", lambda: "as it is") == "as it is"
    memory.forget()
    assert memory.ask("key", lambda: "as it will be") == "as it will be"


def test_that_there_is_no_such_thing_is_not_kept(clock: Clock):
    memory: Memory[str] = Memory(seconds=clock)
    assert memory.ask("key", lambda: None) is None
    assert memory.ask("key", lambda: "there") == "there"


def test_an_error_leaves_nothing_behind(clock: Clock):
    memory: Memory[int] = Memory(seconds=clock)
    memory.ask("key", lambda: 1)
    clock.now = SECONDS
    with pytest.raises(ZeroDivisionError):
        memory.ask("key", lambda: 1 // 0)
    assert memory.ask("key", lambda: 2) == 2


def test_as_many_answers_are_kept_as_there_is_room_for_and_the_oldest_go(clock: Clock):
    memory: Memory[str] = Memory(seconds=clock, size=2)
    for key in ("first", "second", "third"):
        memory.ask(key, lambda: "before")
    assert len(memory) == 2
    assert [memory.ask(key, lambda: "now") for key in ("third", "second", "first")] == ["before", "before", "now"]


@pytest.mark.django_db
def test_in_a_transaction_nothing_is_remembered(clock: Clock):
    memory: Memory[str] = Memory(seconds=clock)
    with transaction.atomic():
        assert memory.ask("key", lambda: "rolled back") == "rolled back"
        assert memory.ask("key", lambda: "as it is here") == "as it is here"
    assert len(memory) == 0
