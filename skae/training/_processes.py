"""The processes that take part in a fit, connected by torch.distributed."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import timedelta
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from joblib.externals.loky import process_executor
from torch import Tensor

from skae.data import ALONE, HOLDERS, Group
from skae.exceptions import ProcessError
from skae.training._run import RUNNER, Job

TIMEOUT = 600.0  # seconds that a process waits for the others
REASON = "reason"  # key of the store for the error of the process that left

_NOT_FOUND = (
    "The process of rank {} found no connection to the other {} of the fit, for which it waits "
    "{:g} s; check that all were started and are still running, and that each calls fit as often "
    "as the others."
)

_rendezvous: dict[str, Any] = {"n_fits": 0}  # of this process with those of its launcher
_taking_part = threading.Lock()  # held by the fit that takes part
# Whether fits in this thread are of this process alone, as those within another fit.
_WITHIN: ContextVar[bool] = ContextVar("WITHIN", default=False)


class Processes(Group):
    """The processes that torch.distributed connects.

    Parameters
    ----------
    engines : dict of str to (ProcessGroup or Backend)
        What communicates tensors, by the type of their device.
    device : torch.device
        Where training takes place, and from where tensors of other devices are communicated if
        there is no engine for the CPU.
    store : Store or None
        Where a process that fails leaves the reason for the others.
    on_leave : callable or None
        Closes connections that do not end with their engine.
    """

    def __init__(
        self,
        engines: Mapping[str, Any],
        device: torch.device,
        store: Any = None,
        on_leave: Callable[[], None] | None = None,
    ):
        self.engines = dict(engines)
        self.on_leave = on_leave
        self.device = torch.device("cpu") if "cpu" in engines else device
        self.store = store
        engine = next(iter(self.engines.values()))
        self.rank, self.size = engine.rank(), engine.size()

    def sum(self, value: Tensor) -> Tensor:
        return _Sum.apply(value, self) if value.requires_grad else self._sum(value)

    def sum_(self, value: Tensor) -> None:
        engine = self._connected().get(value.device.type)
        if engine is None:
            value.copy_(self._sum(value))
            return
        with self._named_if_lost():
            engine.allreduce([value]).wait()

    def maximum(self, value: Tensor) -> Tensor:
        options = dist.AllreduceOptions()
        options.reduceOp = dist.ReduceOp(dist.ReduceOp.MAX)
        return self._run(value, lambda engine, x: engine.allreduce([x], options))

    def gather(self, value: Tensor) -> Tensor:
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        self._gather(torch.tensor([len(value)]), sizes)
        longest = max(int(size) for size in sizes)
        padded = value.new_zeros(longest, *value.shape[1:])
        padded[: len(value)] = value.detach()
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        self._gather(padded, parts)
        return torch.cat([part[: int(n)] for part, n in zip(parts, sizes, strict=True)])

    def first(self, value: Tensor) -> Tensor:
        options = dist.BroadcastOptions()
        options.rootRank = 0
        return self._run(value, lambda engine, x: engine.broadcast([x], options))

    def check_same(self, facts: Mapping[str, Any]) -> None:
        """Raise ValueError, in each process, if one was given other facts than that of rank 0."""
        text = torch.frombuffer(bytearray(json.dumps(facts).encode()), dtype=torch.uint8)
        sizes = self.gather(torch.tensor([len(text)]))
        parts = self.gather(text).split(sizes.tolist())
        first, *others = (json.loads(part.numpy().tobytes()) for part in parts)
        for rank, other in enumerate(others, 1):
            for name in first:
                if other.get(name) != first[name]:
                    raise ValueError(
                        f"All processes of a fit must be given the same {name}: that of rank 0 has "
                        f"{first[name]}, that of rank {rank} has {other.get(name)}; call fit with "
                        "the same arguments in each, and with an integer as random_state where "
                        "samples or seeds are drawn, or set distributed=False."
                    )

    def _gather(self, value: Tensor, parts: list[Tensor]) -> None:
        found = self._run(torch.stack(parts), lambda engine, x: self._all(engine, value, x))
        for part, own in zip(parts, found, strict=True):
            part.copy_(own)

    @staticmethod
    def _all(engine: Any, value: Tensor, into: Tensor) -> Any:
        return engine.allgather([list(into.unbind(0))], [value.to(into.device)])

    def _sum(self, value: Tensor) -> Tensor:
        return self._run(value, lambda engine, x: engine.allreduce([x]))

    def _run(self, value: Tensor, operation: Any) -> Tensor:
        """Return the result of an operation that changes a tensor in place."""
        engines, device = self._connected(), value.device
        if device.type not in engines:
            device = self.device
        carried = value.detach().to(device, copy=True).contiguous()
        with self._named_if_lost():
            operation(engines[device.type], carried).wait()
        return carried.to(value.device)

    def _connected(self) -> dict[str, Any]:
        """Return what communicates, unless another thread has ended the part of this process."""
        if not self.engines:
            raise ProcessError(self._why_lost())
        return self.engines

    @contextmanager
    def _named_if_lost(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, ValueError) as error:  # of gloo and of torch
            raise ProcessError(self._why_lost()) from error

    def _why_lost(self) -> str:
        with suppress(Exception):
            if self.store.check([REASON]):
                return self.store.get(REASON).decode()
        return (
            f"The process of rank {self.rank} lost one of the {self.size} processes of the fit: it "
            "ended or did not answer in time; look for its error, and start the fit again."
        )

    def leave(self, error: BaseException | None) -> None:
        """Close the connections; leave the reason for the others if it is an error."""
        if isinstance(error, Exception) and not isinstance(error, ProcessError):
            with suppress(Exception):
                text = f"The process of rank {self.rank} failed: {error}"
                self.store.set(REASON, text)
        # Connections end with their engine: the others do not wait for this process any longer.
        self.engines = {}
        self.store = None
        if self.on_leave is not None:
            on_leave, self.on_leave = self.on_leave, None
            on_leave()


class _Sum(torch.autograd.Function):
    """The sum over processes. The losses of all depend on it, so that gradients are summed, too."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, processes: Processes) -> Tensor:
        ctx.processes = processes
        return processes._sum(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.processes._sum(gradient), None


def connected(
    store: Any, rank: int, size: int, device: torch.device, timeout: float = TIMEOUT
) -> Processes:
    """Return processes that a store connects, by gloo, and by nccl for GPUs."""
    limit = timedelta(seconds=timeout)
    try:
        gloo = dist.ProcessGroupGloo(dist.PrefixStore("gloo", store), rank, size, limit)
        engines: dict[str, Any] = {"cpu": gloo}
        if device.type == "cuda" and dist.is_nccl_available():
            options = dist.ProcessGroupNCCL.Options()
            options._timeout = limit
            nccl = dist.PrefixStore("nccl", store)
            engines["cuda"] = dist.ProcessGroupNCCL(nccl, rank, size, options)
    except RuntimeError as error:
        raise ProcessError(_NOT_FOUND.format(rank, size - 1, timeout)) from error
    return Processes(engines, device, store)


@contextmanager
def taking_part(distributed: bool | str, device: torch.device) -> Iterator[Group]:
    """Context with the processes that take part in a fit.

    These are the ones that hold parts of the samples, those of the default process group of
    torch.distributed, or those that a launcher started: each has a rank and the address of the
    first one in its environment. A fit within another one, as by a callback, which the process of
    rank 0 alone calls, is of this process alone.
    """
    if HOLDERS.get().size > 1:
        yield HOLDERS.get()
    elif _WITHIN.get():
        yield ALONE
    elif not _takes_part(distributed):
        if distributed is True:
            raise ValueError(
                "distributed=True, but this process is the only one; start several by torchrun, or "
                "set distributed='auto'."
            )
        yield ALONE
    else:
        with _one_at_a_time():
            processes = _default_group(device) if dist.is_initialized() else _connection(device)
            try:
                yield processes
            except BaseException as error:
                processes.leave(error)
                raise
            processes.leave(None)


@contextmanager
def by_itself() -> Iterator[None]:
    """Context in which fits are of this process alone, whatever started it."""
    token = _WITHIN.set(True)
    try:
        yield
    finally:
        _WITHIN.reset(token)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Context in which no other thread takes part: the processes could mistake their fits.

    Threads of gathered fits run in turn, in the same order in each process.
    """
    gathered = RUNNER.get() is not Job.run
    if not (gathered or _taking_part.acquire(blocking=False)):
        raise ValueError(
            "Another thread takes part in training in several processes; call fit in one thread at "
            "a time, or set distributed=False."
        )
    try:
        with by_itself():
            yield
    finally:
        if not gathered:
            _taking_part.release()


def local_device(name: str, distributed: bool | str) -> str:
    """Return the name of the GPU of this process among those of its machine."""
    local = os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", ""))
    if name not in ("auto", "cuda") or not (local.isdigit() and _takes_part(distributed)):
        return name
    return f"cuda:{local}" if int(local) < torch.cuda.device_count() else name


def _takes_part(distributed: bool | str) -> bool:
    """Whether this process is one of several, unless it should train by itself."""
    if distributed is False or not dist.is_available() or _is_worker_of_joblib():
        return False
    if dist.is_initialized():
        return dist.get_world_size() > 1
    return _launched() is not None


def _default_group(device: torch.device) -> Processes:
    """Return the processes of the default group of torch.distributed, with new connections.

    The connections of the group itself cannot be closed by a process that fails.
    """
    group = dist.group.WORLD
    assert group is not None
    kinds = [kind.type for kind in group._device_types]
    if device.type not in kinds and "cpu" not in kinds:
        raise ValueError(
            f"The default process group has no backend for device={device.type!r}, only for "
            f"{' and '.join(kinds)}; initialise it with backend='cpu:gloo,cuda:nccl', or set "
            "another device."
        )
    try:
        own = dist.new_group(timeout=timedelta(seconds=TIMEOUT))
    except RuntimeError as error:
        raise ProcessError(_NOT_FOUND.format(group.rank(), group.size() - 1, TIMEOUT)) from error
    return Processes(
        dict.fromkeys(sorted(kinds), own),
        device,
        on_leave=partial(dist.destroy_process_group, own),
    )


def _connection(device: torch.device) -> Processes:
    """Return the processes that a launcher started."""
    launched = _launched()
    assert launched is not None
    return connected(_next_store(*launched), *launched, device)


def _launched() -> tuple[int, int] | None:
    """Return the rank and the number of the processes that a launcher started, or None."""
    env = os.environ
    rank, size = env.get("RANK"), env.get("WORLD_SIZE")
    if rank is None or size is None:
        rank, size = env.get("SLURM_PROCID"), env.get("SLURM_STEP_NUM_TASKS")
    if rank is None or size is None or not (env.get("MASTER_ADDR") and env.get("MASTER_PORT")):
        return None
    if not (rank.isdigit() and size.isdigit() and int(rank) < int(size)):
        raise ValueError(
            f"The environment has the rank {rank!r} of {size!r} processes, which must be integers, "
            "the first one lower; correct RANK and WORLD_SIZE, or set distributed=False."
        )
    return None if size == "1" else (int(rank), int(size))


def _next_store(rank: int, size: int) -> Any:
    """Return the store of the next fit of the processes that a launcher started."""
    if "store" not in _rendezvous:
        limit = timedelta(seconds=TIMEOUT)
        try:
            found = next(dist.rendezvous("env://", rank, size, timeout=limit))
        except RuntimeError as error:
            raise ProcessError(
                f"The process of rank {rank} found no other process at MASTER_ADDR="
                f"{os.environ['MASTER_ADDR']} and MASTER_PORT={os.environ['MASTER_PORT']}; check "
                "them, or set distributed=False."
            ) from error
        _rendezvous["store"] = found[0]
    _rendezvous["n_fits"] += 1
    return dist.PrefixStore(f"skae/{_rendezvous['n_fits']}", _rendezvous["store"])


def _is_worker_of_joblib() -> bool:
    """Whether joblib started this process, which then only inherited a launcher's environment."""
    return getattr(process_executor, "_CURRENT_DEPTH", 0) > 0
