import argparse
import functools
import hashlib
import http.server
import os
import pickle
import sys
import threading
import zipfile
from pathlib import Path, PurePosixPath

import pytest
import torch
from torch import nn

from kd_core.checkpoint.reader import CheckpointError, UnsafeCheckpointError, read_checkpoint

WEIGHTS = {"fc.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.tensor([1.0, 2.0])}


class Run:
    """Pickles into a call that would leave a trace."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class Allowed:
    pass


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": WEIGHTS, "meta": {"iter": 3}}, path)
    return path


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A web server for the folder `site`, and an empty torch.hub cache."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class TestReading:
    @pytest.mark.parametrize("mmap", [True, False])
    @pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
    def test_what_was_saved_is_read(self, tmp_path, zipped, mmap):
        path = tmp_path / "a.pth"
        torch.save({"w": WEIGHTS, "n": 3}, path, _use_new_zipfile_serialization=zipped)
        found = read_checkpoint(path, mmap=mmap)
        assert found["n"] == 3
        torch.testing.assert_close(found["w"], WEIGHTS, rtol=0, atol=0)

    @pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
    @pytest.mark.parametrize("function", [os.mkdir, eval, print, getattr])
    def test_code_is_refused_by_name_and_does_not_run(self, tmp_path, zipped, function):
        path, trace = tmp_path / "a.pth", tmp_path / "trace"
        argument = str(trace) if function is os.mkdir else f"open({str(trace)!r}, 'w')"
        torch.save({"w": Run(function, argument)}, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(CheckpointError, match=rf"a\.pth holds .*{function.__name__}.*run code"):
            read_checkpoint(path)
        assert not trace.exists()

    def test_a_plain_pickle_with_code_is_refused(self, tmp_path):
        path = tmp_path / "a.pkl"
        path.write_bytes(pickle.dumps({"w": Run(os.mkdir, str(tmp_path / "trace"))}, protocol=2))
        with pytest.raises(CheckpointError):
            read_checkpoint(path)
        assert not (tmp_path / "trace").exists()

    def test_a_class_must_be_allowed(self, tmp_path):
        torch.save({"a": Allowed()}, tmp_path / "a.pth")
        with pytest.raises(CheckpointError, match=r"Allowed.*add_safe_globals"):
            read_checkpoint(tmp_path / "a.pth")
        assert isinstance(read_checkpoint(tmp_path / "a.pth", [Allowed])["a"], Allowed)
        with pytest.raises(CheckpointError):  # It was allowed for that one call.
            read_checkpoint(tmp_path / "a.pth")

    def test_what_the_program_allows_stays_allowed(self, tmp_path):
        torch.save({"a": Allowed()}, tmp_path / "a.pth")
        with torch.serialization.safe_globals([Allowed]):
            read_checkpoint(tmp_path / "a.pth", [Allowed])
            assert Allowed in torch.serialization.get_safe_globals()

    @pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 0.999])
    @pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
    def test_a_cut_file_is_named(self, tmp_path, share, zipped):
        path = tmp_path / "a.pth"
        torch.save(WEIGHTS, path, _use_new_zipfile_serialization=zipped)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(CheckpointError, match=r"a\.pth .*(cut off|not a checkpoint).*again"):
            read_checkpoint(path)

    @pytest.mark.parametrize(
        "content, message",
        [
            (b"", "empty"),
            (b"\x80", "not a checkpoint"),
            (b"hello, world\n" * 20, "not a checkpoint"),
            (b"PK\x03\x04" + bytes(500), "cut off or damaged"),
            (b"<!DOCTYPE html><html></html>", "web page"),
            (b"\n  <html></html>", "web page"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ],
    )
    def test_other_files_are_told_apart(self, tmp_path, content, message):
        path = tmp_path / "a.pth"
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=message):
            read_checkpoint(path)

    def test_random_damage_is_never_another_error(self, saved):
        data = saved.read_bytes()
        generator = torch.Generator().manual_seed(0)
        for _ in range(60):
            damaged = bytearray(data)
            for place in torch.randint(len(data), (8,), generator=generator).tolist():
                damaged[place] ^= 0xFF
            saved.write_bytes(damaged)
            try:
                read_checkpoint(saved, mmap=False)
            except CheckpointError:
                pass

    def test_folder_and_missing_file(self, tmp_path):
        with pytest.raises(CheckpointError, match="is a folder"):
            read_checkpoint(tmp_path)
        with pytest.raises(FileNotFoundError, match=r"no checkpoint .*none\.pth"):
            read_checkpoint(tmp_path / "none.pth")

    def test_a_lone_tensor_is_no_checkpoint(self, tmp_path):
        torch.save(torch.zeros(2), tmp_path / "a.pth")
        with pytest.raises(CheckpointError, match="holds a Tensor"):
            read_checkpoint(tmp_path / "a.pth")

    def test_torchscript_is_refused(self, tmp_path):
        path = tmp_path / "a.pt"
        torch.jit.script(nn.Linear(2, 2)).save(str(path))
        with pytest.raises(
            UnsafeCheckpointError, match=r"is a TorchScript archive.*torch\.jit\.load"
        ):
            read_checkpoint(path)

    def test_code_is_refused_where_the_environment_would_allow_it(self, tmp_path, monkeypatch):
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
        trace = tmp_path / "trace"
        torch.save({"a": Run(os.mkdir, str(trace))}, tmp_path / "a.pth")
        with pytest.raises(UnsafeCheckpointError, match="mkdir"):
            read_checkpoint(tmp_path / "a.pth")
        assert not trace.exists()

    def test_the_device_is_the_callers(self, tmp_path):
        torch.save(WEIGHTS, tmp_path / "a.pth")
        found = read_checkpoint(tmp_path / "a.pth", map_location="meta")
        assert {value.device.type for value in found.values()} == {"meta"}

    def test_the_home_folder_is_found(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        torch.save(WEIGHTS, tmp_path / "a.pth")
        assert read_checkpoint("~/a.pth").keys() == WEIGHTS.keys()

    def test_what_is_not_mapped_may_be_overwritten(self, tmp_path, monkeypatch):
        seen, load = [], torch.load
        monkeypatch.setattr(torch, "load", lambda *a, **k: seen.append(k["mmap"]) or load(*a, **k))
        torch.save(WEIGHTS, tmp_path / "a.pth")
        read_checkpoint(tmp_path / "a.pth", mmap=False)
        assert seen == [False]


def compress(path, more=()):
    """Write an archive anew with compressed entries, and more entries."""
    with zipfile.ZipFile(path) as old:
        entries = [(name, old.read(name)) for name in old.namelist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, data in [*entries, *more]:
            new.writestr(name, data)


class TestCompressed:
    @pytest.mark.parametrize("mmap", [True, False])
    def test_compressed_entries_are_read_as_they_were(self, tmp_path, mmap):
        weights = {"w": torch.arange(5000.0), "b": torch.ones(3)}
        torch.save(weights, tmp_path / "a.pth")
        compress(tmp_path / "a.pth")
        found = read_checkpoint(tmp_path / "a.pth", mmap=mmap)
        torch.testing.assert_close(found, weights, rtol=0, atol=0)

    def test_stored_entries_stay_mapped(self, saved, monkeypatch):
        seen, load = [], torch.load
        monkeypatch.setattr(torch, "load", lambda *a, **k: seen.append(k["mmap"]) or load(*a, **k))
        read_checkpoint(saved)
        compress(saved)
        read_checkpoint(saved)
        assert seen == [True, False]

    def test_a_bomb_is_refused_before_it_unpacks(self, saved, monkeypatch):
        compress(saved, [("archive/more", bytes(300 * 2**20))])
        assert saved.stat().st_size < 2**20
        monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was unpacked"))
        with pytest.raises(CheckpointError, match=r"would unpack to 314,57\d,\d{3} bytes"):
            read_checkpoint(saved)


class TestSettings:
    def test_a_namespace_comes_in_as_plain_attributes(self, tmp_path):
        """As torchvision's and timm's training programs save it."""
        settings = argparse.Namespace(lr=0.1, out=Path("runs/a"), names=["a"], more=None)
        torch.save({"model": WEIGHTS, "args": settings}, tmp_path / "a.pth")
        found = read_checkpoint(tmp_path / "a.pth")["args"]
        assert isinstance(found, argparse.Namespace) and found.lr == 0.1
        assert found.names == ["a"] and found.more is None
        assert found.out == PurePosixPath("runs/a")

    def test_it_can_be_saved_and_read_again(self, tmp_path):
        settings = argparse.Namespace(lr=0.1, out=Path("runs/a"))
        torch.save({"args": settings}, tmp_path / "a.pth")
        for old, new in [("a.pth", "b.pth"), ("b.pth", "c.pth")]:
            torch.save(read_checkpoint(tmp_path / old), tmp_path / new)
        assert read_checkpoint(tmp_path / "c.pth")["args"].lr == 0.1
        assert type(torch.load(tmp_path / "c.pth", weights_only=False)["args"]) is type(settings)

    @pytest.mark.parametrize(
        "call",
        [(argparse.Namespace, ("x",)), (argparse.Namespace, (), {"__class__": 1}),
         (argparse.Namespace, (), {"__setstate__": 1}), (argparse.Namespace, (), [1])],
    )  # fmt: skip
    def test_anything_but_plain_attributes_is_refused(self, tmp_path, call):
        class Odd:
            def __reduce__(self):
                return call

        torch.save({"args": Odd()}, tmp_path / "a.pth")
        with pytest.raises(CheckpointError, match=r"a\.pth"):
            read_checkpoint(tmp_path / "a.pth")

    def test_code_inside_is_refused(self, tmp_path):
        trace = tmp_path / "trace"
        settings = argparse.Namespace(lr=Run(os.mkdir, str(trace)))
        torch.save({"args": settings}, tmp_path / "a.pth")
        with pytest.raises(CheckpointError, match="mkdir"):
            read_checkpoint(tmp_path / "a.pth")
        assert not trace.exists()


class TestSafetensors:
    def test_it_is_read(self, tmp_path):
        safetensors = pytest.importorskip("safetensors.torch")
        safetensors.save_file(WEIGHTS, tmp_path / "a.safetensors")
        found = read_checkpoint(tmp_path / "a.safetensors")
        (tmp_path / "a.safetensors").rename(tmp_path / "b.SafeTensors")
        assert read_checkpoint(tmp_path / "b.SafeTensors").keys() == WEIGHTS.keys()
        torch.testing.assert_close(found, WEIGHTS, rtol=0, atol=0)
        (tmp_path / "a.safetensors").write_bytes(b"not this")
        with pytest.raises(CheckpointError, match=r"a\.safetensors"):
            read_checkpoint(tmp_path / "a.safetensors")

    def test_without_the_package_the_remedy_is_named(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "safetensors.torch", None)
        (tmp_path / "a.safetensors").write_bytes(b"x")
        with pytest.raises(ImportError, match="pip install safetensors"):
            read_checkpoint(tmp_path / "a.safetensors")


class TestAddresses:
    def test_downloaded_once_with_its_hash_checked(self, site, saved):
        folder, address = site
        digest = hashlib.sha256(saved.read_bytes()).hexdigest()[:8]
        (folder / f"net-{digest}.pth").write_bytes(saved.read_bytes())
        assert read_checkpoint(f"{address}/net-{digest}.pth")["meta"] == {"iter": 3}
        (folder / f"net-{digest}.pth").unlink()
        assert read_checkpoint(f"{address}/net-{digest}.pth")["meta"] == {"iter": 3}

    def test_a_wrong_hash_is_refused_and_not_kept(self, site, saved, tmp_path):
        folder, address = site
        (folder / "net-00000000.pth").write_bytes(saved.read_bytes())
        with pytest.raises(CheckpointError, match="invalid hash value"):
            read_checkpoint(f"{address}/net-00000000.pth")
        assert not list((tmp_path / "hub").rglob("*.pth"))

    def test_two_files_of_one_name_are_kept_apart(self, site):
        folder, address = site
        for name in ("a", "b"):
            (folder / name).mkdir()
            torch.save({"name": name}, folder / name / "model.pth")
        for name in ("a", "b"):
            assert read_checkpoint(f"{address}/{name}/model.pth") == {"name": name}

    def test_an_address_without_a_file_is_named(self, site):
        with pytest.raises(CheckpointError, match=r"none\.pth could not be downloaded.*404"):
            read_checkpoint(f"{site[1]}/none.pth")

    def test_downloaded_code_is_refused(self, site, tmp_path):
        folder, address = site
        torch.save({"w": Run(os.mkdir, str(tmp_path / "trace"))}, folder / "a.pth")
        with pytest.raises(CheckpointError, match="mkdir"):
            read_checkpoint(f"{address}/a.pth")
        assert not (tmp_path / "trace").exists()
