"""A group of the (runs x data) grid: the ranks that train one seed batch together, as a world of their own.

W ranks stand in W / R groups of R. A group is torch's default process group, so every engine works in it as if there
were nothing else; groups share only a store, where they take their work from. After an exception in one of its ranks a
group is aborted and formed again: what failed is one seed batch, the others continue.
"""

import contextlib
import json
import os
import socket
import stat
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from gpt.errors import InputError
from gpt.train.engines.ranks import Ranks

POLL_SECONDS = 0.1
UNCLEAR = {"could not create a primitive": "oneDNN found no room for a kernel: most likely, memory ran out"}
"""messages of libraries that leave out what a reader must know, and that"""


class RankLostError(Exception):
    """A rank of this group is gone, or does not answer: the group cannot continue."""


@dataclass(frozen=True)
class RankFailure:
    """Why an attempt at a seed batch failed."""

    why: str
    """one line, with the number of the rank where there are several"""
    trace: str
    """traceback; empty where the line says all"""


@dataclass(frozen=True)
class RankPosition:
    """The place of a process among all W."""

    rank: int
    world: int
    ranks_per_run: int

    @property
    def group(self) -> int:
        return self.rank // self.ranks_per_run

    @property
    def ranks(self) -> Ranks:
        """The place within the group."""
        return Ranks(self.rank % self.ranks_per_run, self.ranks_per_run)

    @property
    def peers(self) -> range:
        """All ranks of the group, by their numbers among all."""
        first = self.group * self.ranks_per_run
        return range(first, first + self.ranks_per_run)


class RankGroup:
    """This process as one rank of its group."""

    def __init__(
        self, position: RankPosition, store: dist.Store, backend: str, timeout: float, stop: Callable[[], bool]
    ):
        """Say at the store which process this rank is.

        Args:
            store: shared by all W ranks and used for nothing else.
            backend: torch's name of what carries the group's collectives.
            timeout: seconds after which a rank that does not answer is given up.
            stop: whether to give up waiting.
        """
        self.position = position
        self.ranks = position.ranks
        self.timeout = timeout
        self.stopped = False
        """whether the group took no more work because one of its ranks was asked to stop"""
        self._store = store
        self._backend = backend
        self._stop = stop
        self._attempts = 0
        self._others: set[int] = set()
        """sockets that are not the group's"""
        store.set(f"process/{position.rank}", json.dumps([socket.gethostname(), os.getpid()]))

    def init(self) -> None:
        """Become the world of this group's ranks.

        Raises:
            RankLostError: a rank did not come.
        """
        self._attempts += 1
        if self.ranks.size == 1:
            return
        self._others = _sockets()
        os.environ |= {"RANK": str(self.ranks.rank), "WORLD_SIZE": str(self.ranks.size)}  # what DeepSpeed reads
        try:
            dist.init_process_group(
                self._backend,
                store=dist.PrefixStore(f"rank-group/{self.position.group}/{self._attempts}", self._store),
                rank=self.ranks.rank,
                world_size=self.ranks.size,
                timeout=timedelta(seconds=self.timeout),
            )
        except (dist.DistError, RuntimeError) as error:
            raise RankLostError(f"ranks {_joined(self.position.peers)} could not form a group: {error}") from None

    def destroy(self) -> None:
        """End the group cleanly."""
        if dist.is_initialized():
            dist.destroy_process_group()

    def take(self, count: int) -> Iterator[int]:
        """Numbers below `count`, each given to one group only, until asked to stop; a fast group takes more."""
        while not self._agree_to_stop():
            number = self._store.add("taken", 1) - 1 if self.ranks.is_main else 0
            number = self.ranks.broadcast_object(number)
            if number >= count:
                return
            yield number

    def _agree_to_stop(self) -> bool:
        self.stopped = self.ranks.any(self._stop())
        return self.stopped

    def note_held(self, fingerprint: str) -> None:
        """Say that another command has a run that was this group's to take."""
        self._store.set(held_key(fingerprint), "")

    def abort(self, error: Exception) -> RankFailure:
        """Leave after an exception, here or in another rank of the group, and find out what happened.

        Shutting connections down makes the others' collectives fail at once instead of after the timeout.

        Returns:
            What the rank that failed first failed with. All ranks get the same answer, and may `init` again.

        Raises:
            RankLostError: a rank is dead, or did not answer within the timeout.
        """
        is_input = isinstance(error, InputError)
        why = str(error) if is_input else describe_error(error)
        trace = "" if is_input else "".join(traceback.format_exception(error))
        if self.ranks.size == 1:
            return RankFailure(why, trace)
        order = self._store.add(self._key("failed"), 1)
        self._store.set(self._key(self.position.rank), json.dumps({"order": order, "why": why, "trace": trace}))
        _shut_down(_sockets() - self._others)
        with contextlib.suppress(RuntimeError):
            dist.destroy_process_group()
        answers = self._answers()
        lost = [rank for rank in self.position.peers if rank not in answers]
        if lost:
            raise RankLostError(f"rank {_joined(lost)} of {self.position.world} was lost: {self._why_lost(lost[0])}")
        first = min(answers, key=lambda rank: answers[rank]["order"])
        return RankFailure(f"rank {first} of {self.position.world}: {answers[first]['why']}", answers[first]["trace"])

    def _answers(self) -> dict[int, Any]:
        """What each rank of the group failed with, waiting for those that are alive."""
        deadline = time.monotonic() + self.timeout
        answers: dict[int, Any] = {}
        while True:
            for rank in set(self.position.peers) - set(answers):
                if self._store.check([self._key(rank)]):
                    answers[rank] = json.loads(self._store.get(self._key(rank)))
            missing = set(self.position.peers) - set(answers)
            given_up = self._stop() or time.monotonic() > deadline
            if not missing or given_up or any(self._is_dead(rank) for rank in missing):
                return answers
            time.sleep(POLL_SECONDS)

    def _is_dead(self, rank: int) -> bool:
        """Whether a rank of this machine has no process any more; of another machine nothing is known."""
        host, process = json.loads(self._store.get(f"process/{rank}"))
        if host != socket.gethostname():
            return False
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        return False

    def _why_lost(self, rank: int) -> str:
        if self._is_dead(rank):
            return "its process is gone"
        return f"no answer for {self.timeout:g} s" if not self._stop() else "no answer before this process was stopped"

    def _key(self, name: object) -> str:
        return f"failure/{self.position.group}/{self._attempts}/{name}"


def held_key(fingerprint: str) -> str:
    """The key in the ranks' store that says that another command has a run."""
    return f"held/{fingerprint}"


def backend_for(device: torch.device) -> str:
    """gloo for CPU tensors; NCCL for those of a GPU."""
    return "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"


def _joined(ranks: Any) -> str:
    return " and ".join(map(str, ranks))


def _sockets() -> set[int]:
    """The descriptors of this process that are TCP connections."""
    descriptors = set()
    for descriptor in [int(entry.name) for entry in Path("/dev/fd").iterdir()]:
        with contextlib.suppress(OSError):  # closed since it was listed, or a socket that only listens
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                with socket.socket(fileno=os.dup(descriptor)) as copy:
                    copy.getpeername()
                    if copy.family in (socket.AF_INET, socket.AF_INET6) and copy.type == socket.SOCK_STREAM:
                        descriptors.add(descriptor)
    return descriptors


def _shut_down(sockets: set[int]) -> None:
    for descriptor in sockets:
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as copy:
            copy.shutdown(socket.SHUT_RDWR)


def describe_error(error: Exception) -> str:
    """An exception's name and message, and what the message should have said."""
    meaning = [f" ({meaning})" for message, meaning in UNCLEAR.items() if message in str(error)]
    return "".join([f"{type(error).__name__}: {error}", *meaning])
