"""Ranks of a group of processes, as threads of this one."""

import threading
from contextlib import nullcontext
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist

from skae import _fitting
from skae.data import ALONE, HOLDERS
from skae.training import connected

LIMIT = 60.0


def in_ranks(function, size=2, timeout=LIMIT):
    """Return what a function of (rank, group) returns, or raises, in each rank."""
    store, results = dist.HashStore(), [None] * size
    store.set_timeout(timedelta(seconds=timeout))

    def run(rank):
        group = connected(store, rank, size, torch.device("cpu"), timeout)
        try:
            results[rank] = function(rank, group)
        except Exception as error:
            results[rank] = error
            group.leave(error)
        else:
            group.leave(None)

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def returned(results):
    """Return results of which none is an error."""
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


@pytest.fixture
def groups(monkeypatch):
    """Return the group of each thread, in which `fit` then takes part as after a launcher."""
    of_threads = {}

    def taking_part(*_):
        return nullcontext(of_threads.get(threading.get_ident(), ALONE))

    monkeypatch.setattr(_fitting, "taking_part", taking_part)
    return of_threads


def fit_together(groups, fit, size=2, **options):
    """Return the result of fit(rank) in each rank, each with all samples."""

    def run(rank, group):
        groups[threading.get_ident()] = group
        return fit(rank)

    return in_ranks(run, size, **options)


def fit_divided(fit, size=2, **options):
    """Return the result of fit(rank) in each rank, each with samples of its own."""

    def run(rank, group):
        token = HOLDERS.set(group)
        try:
            return fit(rank)
        finally:
            HOLDERS.reset(token)

    return in_ranks(run, size, **options)
