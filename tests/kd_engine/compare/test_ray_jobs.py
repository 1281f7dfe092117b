"""Trainings on Ray: the wiring, with a stand-in for Ray that runs tasks at once."""

import os
import socket
import sys
from types import SimpleNamespace

import pytest

from kd_engine.compare.jobs import Job
from kd_engine.compare.ray_jobs import run_on_ray

NOTE = "import os, sys; print(os.getcwd(), os.environ['KD_DATA']); sys.exit(int(sys.argv[1]))"


class LostError(Exception):
    pass


class Ray(SimpleNamespace):
    """Ray as far as it is used; the last of several tasks is lost with its machine."""

    def __init__(self, resources):
        super().__init__(
            exceptions=SimpleNamespace(RayError=LostError), asked=[], results={}, is_up=False
        )
        self.resources = resources

    def init(self, address, log_to_driver):
        if address == "nowhere":
            raise ConnectionError("no answer")
        self.is_up = True

    def cluster_resources(self):
        return self.resources

    def remote(self, **needs):
        def decorate(function):
            def start(*arguments):
                self.asked.append((needs, arguments[1]))
                number = len(self.asked)
                self.results[number] = function(*arguments) if number < 3 else None
                return number

            return SimpleNamespace(remote=start)

        return decorate

    def wait(self, tasks):
        return [tasks[-1]], tasks[:-1]

    def get(self, task):
        if self.results[task] is None:
            raise LostError("the machine is gone")
        return self.results[task]

    def shutdown(self):
        self.is_up = False


@pytest.fixture
def ray(monkeypatch, tmp_path):
    made = Ray({"CPU": 4.0, "GPU": 2.0})
    monkeypatch.setitem(sys.modules, "ray", made)
    monkeypatch.setenv("KD_DATA", "the data")
    monkeypatch.chdir(tmp_path)
    return made


def jobs(tmp_path, codes):
    return [Job(str(number), ("-c", NOTE, str(code)), tmp_path / f"{number}.log")
            for number, code in enumerate(codes)]  # fmt: skip


def test_each_job_is_a_task_with_a_gpu(ray, tmp_path):
    ended = {}

    def note(job, code, where):
        ended[job.title] = code, where.machine

    run_on_ray(jobs(tmp_path, (0, 7, 0)), "auto", note)
    assert {title: code for title, (code, _) in ended.items()} == {"0": 0, "1": 7, "2": 1}
    assert ended["0"][1]["processors"] == str(os.cpu_count()) and ended["2"][1] == {}
    assert ray.asked == [({"num_cpus": 1, "num_gpus": 1}, {"KD_DATA": "the data"})] * 3
    assert (tmp_path / "0.log").read_text() == f"{tmp_path} the data\n"
    assert not ray.is_up


def test_without_gpus_none_is_asked_for(ray, tmp_path):
    ray.resources = {"CPU": 4.0}
    run_on_ray(jobs(tmp_path, (0,)), "auto", lambda *ended: None)
    assert ray.asked[0][0] == {"num_cpus": 1, "num_gpus": 0}


@pytest.mark.parametrize("address", ["nowhere", "{}", "ray://{}"])
def test_a_cluster_that_does_not_answer_is_named(address, ray, tmp_path):
    with socket.socket() as closed:  # bound, and nothing listens
        closed.bind(("127.0.0.1", 0))
        address = address.format(f"127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(ConnectionError, match=f"must answer at '{address}', but none does"):
            run_on_ray(jobs(tmp_path, (0,)), address, print)


def test_a_cluster_that_listens_is_joined(ray, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        run_on_ray(jobs(tmp_path, (0,)), f"127.0.0.1:{server.getsockname()[1]}", print)
    assert len(ray.asked) == 1


def test_nothing_to_do_needs_no_cluster(ray):
    run_on_ray([], "nowhere", print)
    assert not ray.asked


def test_the_missing_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install 'kdkit\[ray\]'"):
        run_on_ray(jobs(tmp_path, (0,)), "auto", print)
