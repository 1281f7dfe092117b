"""Trainings on a cluster of Ray: each is a remote task that runs the same child process.

Ray decides where and when; nothing is scheduled here. Its machines have kdkit installed and see the
same folders, as those of a Slurm cluster do.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kd_core.packages import missing_package
from kd_engine.compare.jobs import Job, OnEnd
from kd_engine.compare.origin import Origin, origin
from kd_engine.run.child import start_child

_PATIENCE = 10.0  # seconds until a cluster answers
_PASSED_ON = ("KD_DATA",)  # environment variables that a training reads


def run_on_ray(jobs: Sequence[Job], address: str, on_end: OnEnd) -> None:
    """Run jobs as tasks of Ray, with one GPU each where the cluster has some.

    A task whose machine is lost is started again by Ray, and its training resumes. If this process
    ends, so do the tasks.

    Args:
        jobs: What to run.
        address: The cluster, as ``ray.init`` takes it: ``auto``, ``ray://host:10001``, or
            ``local`` for one on this machine alone.
        on_end: Called at the end of each, also of one that failed.

    Raises:
        ImportError: If Ray is not installed.
        ConnectionError: If there is no such cluster.
    """
    if not jobs:
        return
    ray = _ray()
    try:
        _require_answer(address)
        ray.init(address=address, log_to_driver=False)
    except OSError as error:  # a ConnectionError, or a name that is not known
        raise ConnectionError(
            f"a cluster of Ray must answer at {address!r}, but none does ({error}). Start it with "
            "ray start --head, or correct --ray."
        ) from error
    try:
        gpus = 1 if ray.cluster_resources().get("GPU") else 0
        task = ray.remote(num_cpus=1, num_gpus=gpus)(run_there)
        settings = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        waiting: dict[Any, Job] = {}
        for number, job in enumerate(jobs, 1):
            print(f"{number} of {len(jobs)}: {job.title}, log {job.log}", flush=True)
            log = os.path.abspath(job.log)
            waiting[task.remote(job.arguments, settings, os.getcwd(), log)] = job
        while waiting:
            for ended in ray.wait(list(waiting))[0]:
                code, where = _outcome(ray, ended)
                on_end(waiting.pop(ended), code, where)
    finally:
        ray.shutdown()


def run_there(
    arguments: Sequence[str], settings: dict[str, str], folder: str, log: str
) -> tuple[int, Origin]:
    """Run one job on the machine of this process.

    Args:
        arguments: Arguments of Python that run it.
        settings: Environment variables that it gets.
        folder: Folder in which it runs.
        log: File for its output.

    Returns:
        Its exit code, and where it ran.
    """
    os.chdir(folder)
    process = start_child(arguments, settings, Path(log))
    try:
        return process.wait(), origin()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _outcome(ray: Any, ended: Any) -> tuple[int, Origin]:
    """Return exit code and origin of a task; 1 and nothing if Ray has lost it."""
    try:
        code, where = ray.get(ended)
        return int(code), where
    except ray.exceptions.RayError as error:
        print(f"Ray: {error}", flush=True)
        return 1, Origin({}, {})


def _require_answer(address: str) -> None:
    """Require that something listens at HOST:PORT; Ray itself would wait for minutes.

    Raises:
        OSError: If nothing does.
    """
    if found := re.fullmatch(r"(?:ray://)?([^:/]+|\[.+\]):(\d+)", address):
        socket.create_connection((found[1].strip("[]"), int(found[2])), _PATIENCE).close()


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise missing_package("--ray", "ray") from error
    return ray
