"""Commands in forked processes, which need not import again what this one has imported.

An interpreter that imports mmdet spends five seconds on it. What a test wants of a second process
is most often only that it is one: that it can be killed, or trains together with another.
"""

import multiprocessing
import os
import socket
import sys
from pathlib import Path

import torch
from mmengine.utils import ManagerMixin

import kd_det  # noqa: F401  once, and not in each process
from kdkit.cli import main

ROOT = Path(__file__).parents[1]


def start(command, log, folder=ROOT, path=(), environment=()):
    """Start a command of kdkit in a process of its own.

    Args:
        command: The words after ``kdkit``.
        log: File to which its outputs are appended.
        folder: Its current folder.
        path: Folders that it imports from besides.
        environment: Variables that differ.

    Returns:
        The process, a ``multiprocessing.Process``.
    """
    assert torch.get_num_threads() == 1, "a forked process would wait for other threads for ever"
    work = (list(map(str, command)), log, folder, list(map(str, path)), dict(environment))
    process = multiprocessing.get_context("fork").Process(target=_work, args=work)
    process.start()
    return process


def run(command, log, **options):
    """Run a command of kdkit in a process of its own; returns its exit code."""
    process = start(command, log, **options)
    process.join(600)
    process.kill()
    process.join()
    return process.exitcode


def train_on_ranks(command, log, ranks=2, **options):
    """Run a command with ``--launcher pytorch``, as torchrun would, in processes of this machine.

    Returns:
        Their exit codes, by rank.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(ranks)}
    processes = [
        start(
            [*command, "--launcher", "pytorch"],
            log,
            environment={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            **options,
        )
        for rank in range(ranks)
    ]
    for process in processes:
        process.join(600)
        process.kill()
        process.join()
    return [process.exitcode for process in processes]


def forget_instances(kind=ManagerMixin):
    """Forget mmengine's loggers, visualizers and the like: it names them by the second.

    A command has a process of its own and finds none; two runs of a test may begin in one second.
    """
    kind._instance_dict.clear()
    for below in kind.__subclasses__():
        forget_instances(below)


def _work(words, log, folder, path, variables):
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(file, number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1) for number in (1, 2))
    os.environ |= {"KD_TRACEBACK": "1", **variables}
    os.chdir(folder)
    sys.path[:0] = path
    forget_instances()
    main(words)
