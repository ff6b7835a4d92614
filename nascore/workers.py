"""Call a function on many items at the same time, in worker processes that stay alive between calls
(loky, by joblib).

Scripts need no `if __name__ == "__main__"`, and what is defined in a notebook's cell can be sent.
Workers end with this process, or after a minute without work.
"""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pickle import PicklingError
from signal import SIG_BLOCK, SIG_IGN, SIG_SETMASK, SIGINT, pthread_sigmask
from threading import Thread
from time import sleep
from typing import Any
from warnings import filterwarnings

from joblib import Parallel, delayed, effective_n_jobs

from nascore.errors import UserError

# A worker whose memory grew is replaced, and what nobody waits for any more is ended: as it should
# be, and no news.
for _message in (
    "A worker stopped while some jobs were given",
    ".*tasks which were still being processed",
):
    filterwarnings("ignore", message=_message, category=UserWarning)

# Windows has no SIGHUP.
FROM_THE_TERMINAL = {SIGINT, getattr(signal, "SIGHUP", SIGINT)}


def default_number() -> int:
    """A worker for each core, at most 8: each takes half a GB. 1 where processes cannot have
    children."""
    return min(effective_n_jobs(-1), 8)


def unordered(
    call: Callable[[Any], Any], items: Sequence, workers: int
) -> Iterator[tuple[int, Any]]:
    """(position of the item, answer) as they come. When the system kills a worker, all that runs
    is lost: the rest goes one at a time until the item is found that kills its worker again; its
    answer is the exception. Raises `UserError` for what cannot be sent to another process;
    whoever stops asking ends the workers."""
    left = dict(enumerate(items))
    alone = False
    numbered = delayed(_numbered)
    while left:
        now = list(left)[: 1 if alone else None]
        try:
            with _parallel(workers) as parallel:
                with _deaf():
                    answers = parallel(numbered(k, call, left[k]) for k in now)
                for k, answer in answers:
                    del left[k]
                    yield k, answer
        except (BrokenProcessPool, PicklingError) as error:
            if isinstance(error, PicklingError) or "un-serialize" in str(error):
                raise _cannot_be_sent(error) from None
            if alone:
                (killer,) = now
                del left[killer]
                yield killer, error
            alone = not alone


def _parallel(workers: int) -> Parallel:
    return Parallel(
        workers,
        backend="loky",
        return_as="generator_unordered",
        batch_size=1,
        idle_worker_timeout=60,
        initializer=begin,
        initargs=(os.getpid(),),
        mmap_mode="c",  # PyTorch wants to write
    )


def _cannot_be_sent(error: Exception) -> UserError:
    reason = str(error.__cause__).strip('"\n').splitlines()[-1]  # of the traceback over there
    what = "an operation or a genotype of yours cannot be sent to another process"
    how = "define it in a module that can be imported, or train with workers=1"
    return UserError(f"{what} ({reason}): {how}")


@contextmanager
def _deaf() -> Iterator[None]:
    """Workers begun inside do not hear Ctrl-C, nor that the terminal closes, not even while they
    start: their parent says what it means, and a search lets its step finish."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = pthread_sigmask(SIG_BLOCK, {signal.SIGHUP})
    resource_tracker.ensure_running()  # it would take the block of Ctrl-C away while it starts
    pthread_sigmask(SIG_BLOCK, FROM_THE_TERMINAL)
    try:
        yield
    finally:
        pthread_sigmask(SIG_SETMASK, before)


# --- in a worker ----------------------------------------------------------------------------------


def begin(parent: int) -> None:
    """A worker leaves what comes from the terminal to its parent, and ends when that was killed."""
    for which in FROM_THE_TERMINAL:
        signal.signal(which, SIG_IGN)

    def follow() -> None:
        while os.getppid() == parent or os.name != "posix":
            sleep(1.0)
        os._exit(1)

    Thread(target=follow, daemon=True).start()


def _numbered(k: int, call: Callable[[Any], Any], item: Any) -> tuple[int, Any]:
    return k, call(item)
