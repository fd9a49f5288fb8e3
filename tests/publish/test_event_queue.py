"""The queue of a monitor's iteration: bounded, counted, never in the way."""

import threading

from streamer.events import State
from streamer.publish.event_queue import EventQueue


def state(seconds: int) -> State:
    return State("desk", float(seconds), None, None, 0.0)


def test_events_come_in_order_and_the_iteration_ends_when_the_queue_is_closed() -> None:
    queue = EventQueue()
    for second in range(3):
        queue.publish(state(second))
    queue.close()
    queue.publish(state(9))
    assert list(queue) == [state(second) for second in range(3)]
    assert (queue.stats().sent, queue.stats().queued, queue.stats().shed) == (3, 0, 0)


def test_a_slow_consumer_loses_the_oldest_events_and_they_are_counted() -> None:
    queue = EventQueue(max_events=2)
    for second in range(5):
        queue.publish(state(second))
    assert (queue.stats().queued, queue.stats().shed) == (2, 3)
    queue.close()
    assert list(queue) == [state(3), state(4)]


def test_a_consumer_waits_for_the_next_event() -> None:
    queue, taken = EventQueue(), threading.Event()
    seen: list[object] = []

    def consume() -> None:
        for event in queue:
            seen.append(event)
            taken.set()

    consumer = threading.Thread(target=consume, daemon=True)
    consumer.start()
    queue.publish(state(1))
    assert taken.wait(60)
    queue.close()
    consumer.join(60)
    assert (consumer.is_alive(), seen) == (False, [state(1)])
