"""Work that waits for a network, in threads that the caller can leave at any moment.

Unlike those of `concurrent.futures`, these threads do not keep the process alive: one that hangs in a name look-up, where
nothing can wake it, holds up neither the caller nor the end of the program.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

TICK_SECONDS = 0.25
THREAD_NAME = "fetch"
_PARTING_SECONDS = 0.5

Result = TypeVar("Result")


def supervise(
    jobs: Sequence[Callable[[], Result]],
    *,
    workers: int,
    done: Callable[[int, Result | BaseException], None],
    tick: Callable[[], None],
    stop: Callable[[], None],
) -> None:
    """Do all jobs, several at a time, and look after them from the caller's thread.

    Args:
        jobs: each is called once, in a thread of its own or of others before it.
        workers: jobs done at a time, at least 1.
        done: called, in the caller's thread, with the place of a job and what it gave or raised, as they end.
        tick: called, in the caller's thread, every `TICK_SECONDS` while none ends.
        stop: makes jobs that are under way end soon; called in any case at the end.

    Raises:
        BaseException: whatever `done` and `tick` raise; the jobs are stopped then, and those not begun are dropped.
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    ended: queue.SimpleQueue[tuple[int, Result | BaseException]] = queue.SimpleQueue()
    abandoned = threading.Event()
    for place in range(len(jobs)):
        waiting.put(place)

    def work() -> None:
        while not abandoned.is_set():
            try:
                place = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                ended.put((place, jobs[place]()))
            except BaseException as cause:  # whatever it is, it is the caller's to judge
                ended.put((place, cause))

    threads = [threading.Thread(target=work, name=THREAD_NAME, daemon=True) for _ in range(min(workers, len(jobs)))]
    try:
        for thread in threads:
            thread.start()
        for _ in jobs:
            done(*_next(ended, tick))
    finally:
        abandoned.set()
        stop()
        latest = time.monotonic() + _PARTING_SECONDS
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, latest - time.monotonic()))


def _next(
    ended: "queue.SimpleQueue[tuple[int, Result | BaseException]]", tick: Callable[[], None]
) -> tuple[int, Result | BaseException]:
    while True:
        try:
            return ended.get(timeout=TICK_SECONDS)
        except queue.Empty:
            tick()
