"""The rule for news that come late, as the table of cases in docs/api.md has it, and for any scans in any order."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise, permutations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from orders.lifecycle import ALONG, STEPS, Status, Step, Verdict, is_further, is_legal, read

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
#: The time at which an order began that the server made up: whatever it is, it is before all.
MADE_UP = Step("pending", MIDNIGHT + timedelta(days=1), dated=False)


class Arrivals:
    """An order as it is while news arrive, one after the other: what `orders.updates` does with rows."""

    def __init__(self, start: Step = MADE_UP) -> None:
        self.known = [start]
        self.status, self.since = start.status, start.at
        self.newest = start.at if start.dated else None

    def arrive(self, status: str, minutes: float) -> Verdict | None:
        """What becomes of it; None if it is refused."""
        new = Step(status, MIDNIGHT + timedelta(minutes=minutes))
        if self.newest is None or new.at > self.newest:
            if status != self.status and not is_legal(self.status, status):
                return None
            verdict = Verdict.REPEATED if status == self.status else Verdict.APPLIED
            self.known.append(Step(status, new.at, counts=verdict is Verdict.APPLIED))
            if verdict is Verdict.APPLIED:
                self.status, self.since = status, new.at
            self.newest = new.at
            return verdict
        reading = read(self.known, new)
        if reading.verdict is not Verdict.KNOWN:
            self.known = [
                Step(step.status, step.at, counts=index in reading.story, dated=step.dated)
                for index, step in enumerate([*self.known, new])
            ]
        self.status, self.since = reading.status, reading.since
        return reading.verdict


def told(*news: str, start: Step = MADE_UP) -> tuple[str, int, str]:
    """What becomes of an order: its status, since which minute, and what the last of the news was."""
    order = Arrivals(start)
    verdict = None
    for line in news:
        minutes, status = line.split()
        verdict = order.arrive(status, float(minutes))
    since = (order.since - MIDNIGHT) // timedelta(minutes=1)
    return order.status, since, "refused" if verdict is None else verdict.value


@pytest.mark.parametrize(
    ("news", "becomes"),
    [
        # The last is newer than everything known: the lifecycle judges.
        (["0 shipped", "60 out_for_delivery"], ("out_for_delivery", 60, "applied")),
        (["0 delivered", "60 shipped"], ("delivered", 0, "refused")),
        (["0 shipped", "60 shipped"], ("shipped", 0, "repeated")),
        # A step between others, all of them legal.
        (["60 out_for_delivery", "0 shipped"], ("out_for_delivery", 60, "applied")),
        (["0 processing", "60 delivered", "30 shipped"], ("delivered", 60, "applied")),
        # A repeat is news.
        (
            ["0 shipped", "60 out_for_delivery", "180 out_for_delivery", "120 shipped"],
            ("out_for_delivery", 180, "applied"),
        ),
        (["0 shipped", "60 out_for_delivery", "120 shipped"], ("shipped", 120, "applied")),
        # Of two readings the one that ends further along.
        (["0 shipped", "60 out_for_delivery", "55 delivered"], ("delivered", 55, "applied")),
        (["0 shipped", "60 out_for_delivery", "70 out_for_delivery", "55 delivered"], ("delivered", 55, "applied")),
        (["1 processing", "0 shipped"], ("shipped", 0, "applied")),
        (["60 shipped", "30 on_hold"], ("shipped", 60, "late")),
        (["60 shipped", "30 cancelled"], ("shipped", 60, "late")),
        (["60 cancelled", "30 shipped"], ("shipped", 30, "applied")),
        (["60 processing", "59 cancelled"], ("cancelled", 59, "applied")),
        (["60 ready_for_pickup", "59 cancelled"], ("cancelled", 59, "applied")),
        (["60 processing", "61 shipped", "59 delivered"], ("delivered", 59, "applied")),
        # Both end alike.
        (["60 processing", "61 shipped", "59 out_for_delivery"], ("shipped", 61, "late")),
        (["60 on_hold", "30 delivered"], ("delivered", 30, "applied")),
        (["0 shipped", "60 delivered", "59 returned"], ("returned", 59, "applied")),
        # What is no step from what was before it.
        (["0 shipped", "60 delivered", "30 processing"], ("delivered", 60, "late")),
        # What was left out returns when it fits.
        (["90 cancelled", "30 shipped", "60 ready_for_pickup"], ("cancelled", 90, "applied")),
        (["90 shipped", "30 on_hold", "60 processing"], ("shipped", 90, "applied")),
        # The same, earlier: the step that made the status is the first.
        (["60 shipped", "30 shipped"], ("shipped", 30, "applied")),
        (["0 shipped", "60 delivered", "30 shipped"], ("delivered", 60, "repeated")),
        # The same news.
        (["0 shipped", "60 delivered", "0 shipped"], ("delivered", 60, "known")),
        (["60 shipped", "30 on_hold", "30 on_hold"], ("shipped", 60, "known")),
        # One moment: in the order in which they come.
        (["0 shipped", "0 delivered"], ("delivered", 0, "applied")),
        (["0 delivered", "0 shipped"], ("delivered", 0, "late")),
    ],
    ids=lambda value: ",".join(value).replace(" ", "-") if isinstance(value, list) else "",
)
def test_an_order_becomes(news: list[str], becomes: tuple[str, int, str]):
    assert told(*news) == becomes


def test_nothing_happens_before_an_order_is_placed():
    placed = Step("pending", MIDNIGHT)
    assert told("10 processing", "-5 shipped", start=placed) == ("processing", 10, "late")
    assert told("10 processing", "-5 on_hold", start=placed) == ("processing", 10, "late")


def test_what_came_to_us_on_its_way_has_a_past():
    on_its_way = Step("shipped", MIDNIGHT)
    assert told("-5 processing", start=on_its_way) == ("shipped", 0, "applied")
    assert told("-5 delivered", start=on_its_way) == ("delivered", -5, "applied")
    assert told("-5 cancelled", start=on_its_way) == ("shipped", 0, "late")


def test_a_beginning_without_a_time_is_before_all():
    assert told("-900 shipped") == ("shipped", -900, "applied")
    assert told("-900 shipped", "-1000 processing") == ("shipped", -900, "applied")


def test_a_step_that_somebody_took_against_the_table_stays_when_something_older_comes():
    corrected = [Step("pending", MIDNIGHT), Step("delivered", MIDNIGHT + timedelta(hours=1))]
    corrected.append(Step("shipped", MIDNIGHT + timedelta(hours=3), forced=True))
    reading = read(corrected, Step("delivered", MIDNIGHT + timedelta(hours=2)))
    assert (reading.status, reading.verdict) == ("shipped", Verdict.REPEATED)
    reading = read(corrected, Step("returned", MIDNIGHT + timedelta(hours=2)))
    assert (reading.status, reading.verdict) == ("shipped", Verdict.APPLIED)


@pytest.mark.parametrize("status", Status.values)
def test_no_status_is_further_along_than_itself_and_all_stand_in_the_row(status: str):
    assert not is_further(status, status)
    assert set(ALONG) == set(Status)


# Any scans.


@st.composite
def journeys(draw: st.DrawFn) -> list[str]:
    """Statuses of an order that are legal one after the other, some of them said twice."""
    status: Status = Status.PENDING
    journey: list[str] = []
    for _ in range(draw(st.integers(1, 6))):
        following = sorted({status, *STEPS[status]} - ({status} if not journey else set()))
        if not following:
            break
        status = draw(st.sampled_from(following))
        journey.append(str(status))
    return journey


def end_of(scans: list[tuple[int, str]], order: list[int]) -> str | None:
    """The status after the scans have arrived in this order; None if one of them is refused."""
    arrivals = Arrivals()
    for index in order:
        minutes, status = scans[index]
        if arrivals.arrive(status, minutes) is None:
            return None
    return arrivals.status


@given(journey=journeys(), data=st.data())
def test_legal_scans_end_in_the_same_status_in_every_order_of_arrival(journey: list[str], data: st.DataObject):
    scans = list(enumerate(journey))
    end = end_of(scans, data.draw(st.permutations(range(len(scans)))))
    assume(end is not None)
    assert end == journey[-1]


def test_every_journey_of_four_scans_ends_in_the_same_status_in_every_order_of_arrival():
    """Each of them, and not only those that hypothesis thinks of."""

    def longer(journey: list[str]) -> list[list[str]]:
        last = Status(journey[-1]) if journey else Status.PENDING
        following = [str(status) for status in Status if status in STEPS[last] or (journey and status == last)]
        return [[*journey, status] for status in following]

    all_of_them: list[list[str]] = [[]]
    for _ in range(4):
        all_of_them = [more for journey in all_of_them for more in longer(journey)]
    compared = 0
    for journey in all_of_them:
        scans = list(enumerate(journey))
        for order in permutations(range(len(scans))):
            end = end_of(scans, list(order))
            compared += end is not None
            assert end in (None, journey[-1]), (journey, order)
    assert compared > len(all_of_them)


@given(
    news=st.lists(st.tuples(st.integers(0, 5), st.sampled_from(Status.values)), max_size=10),
    start=st.sampled_from([MADE_UP, Step("pending", MIDNIGHT), Step("shipped", MIDNIGHT + timedelta(minutes=2))]),
)
def test_a_story_is_legal_from_its_beginning_to_the_status_that_the_order_has(news: list[tuple[int, str]], start: Step):
    order = Arrivals(start)
    for minutes, status in news:
        order.arrive(status, minutes)
    # News that are known change nothing, and give the story.
    again = read(order.known, order.known[-1]) if len(order.known) > 1 else None
    if again is not None:
        assert again.verdict is Verdict.KNOWN
        story = [[*order.known, order.known[-1]][index] for index in again.story]
        assert (story[-1].status, again.status, again.since) == (order.status, order.status, order.since)
        for before, after in pairwise(story):
            assert before.at <= after.at or not before.dated
            assert before.status == after.status or is_legal(before.status, after.status)
