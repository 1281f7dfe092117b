import functools
import hashlib
import http.server
import logging
import os
import pickle
import sys
import threading
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from kd_core.checkpoint import CheckpointError, load_weights, read_checkpoint, state_dict_of

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
        with pytest.raises(CheckpointError, match="TorchScript"):
            read_checkpoint(path)


class TestSafetensors:
    def test_it_is_read(self, tmp_path):
        safetensors = pytest.importorskip("safetensors.torch")
        safetensors.save_file(WEIGHTS, tmp_path / "a.safetensors")
        found = read_checkpoint(tmp_path / "a.safetensors")
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


class TestStateDict:
    @pytest.mark.parametrize(
        "checkpoint",
        [
            WEIGHTS,
            {"state_dict": WEIGHTS, "meta": {}},
            {"model": WEIGHTS, "epoch": 3},
            {"state_dict": {f"module.{key}": value for key, value in WEIGHTS.items()}},
        ],
        ids=["plain", "state_dict", "model", "module"],
    )
    def test_weights_are_found(self, checkpoint):
        assert dict(state_dict_of(checkpoint)).keys() == WEIGHTS.keys()

    def test_module_is_kept_where_not_all_share_it(self):
        weights = {"module.a": torch.zeros(1), "b": torch.zeros(1)}
        assert list(state_dict_of(weights)) == ["module.a", "b"]

    def test_module_versions_follow_the_keys(self):
        model = nn.Sequential(OrderedDict(module=nn.Sequential(nn.BatchNorm2d(2))))
        versions = state_dict_of(model.state_dict())._metadata
        assert versions == {"": {"version": 1}, "0": {"version": 2}}

    @pytest.mark.parametrize("checkpoint", [{}, {"epoch": 3}, {"state_dict": {"a": 3}}])
    def test_no_weights_is_an_error(self, checkpoint):
        with pytest.raises(CheckpointError, match="dict of tensors"):
            state_dict_of(checkpoint)


class Net(nn.Module):
    def __init__(self, classes=2):
        super().__init__()
        self.fc = nn.Linear(3, classes)
        self.bn = nn.BatchNorm1d(classes)


def copy_of(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


class TestLoading:
    def test_every_value_arrives(self):
        source, model = Net(), Net()
        report = load_weights(model, source.state_dict())
        assert report.complete and set(report.loaded) == set(source.state_dict())
        torch.testing.assert_close(model.state_dict(), source.state_dict(), rtol=0, atol=0)

    @pytest.mark.parametrize("partial", [False, True])
    def test_nothing_changes_when_it_raises(self, partial):
        model = Net()
        before = copy_of(model)
        weights = {} if partial else {**Net().state_dict(), "more": torch.zeros(1)}
        with pytest.raises(CheckpointError):
            load_weights(model, weights, allow_partial=partial)
        torch.testing.assert_close(copy_of(model), before, rtol=0, atol=0)

    def test_the_table_is_aligned(self):
        weights = Net(3).state_dict()
        del weights["bn.weight"]
        weights["old.weight"] = torch.zeros(4, 4)
        with pytest.raises(CheckpointError) as caught:
            load_weights(Net(2), weights, source="teacher.pth")
        assert str(caught.value).splitlines() == [
            "teacher.pth does not fit Net: 5 mis-shaped, 1 missing, 1 unexpected; 1 fit.",
            "  key              in the file  in the model",
            "  fc.weight        (3, 3)       (2, 3)",
            "  fc.bias          (3,)         (2,)",
            "  bn.bias          (3,)         (2,)",
            "  bn.running_mean  (3,)         (2,)",
            "  bn.running_var   (3,)         (2,)",
            "  bn.weight        -            (2,)",
            "  old.weight       (4, 4)       -",
            "The checkpoint has 3 classes, the model 2 (fc.weight). Build the model with as many "
            "classes as the checkpoint. allow_partial=True loads what fits.",
        ]

    def test_a_long_table_is_cut(self):
        weights = {**Net().state_dict(), **{f"x{i}": torch.zeros(1) for i in range(33)}}
        with pytest.raises(CheckpointError, match=r"\.\.\. and 13 more"):
            load_weights(Net(), weights)

    def test_partial_loads_what_fits_and_warns(self, caplog):
        source, model = Net(), Net()
        before = copy_of(model)
        weights = source.state_dict()
        weights["bn.bias"] = torch.zeros(7)
        del weights["bn.weight"]
        with caplog.at_level(logging.WARNING):
            report = load_weights(model, weights, allow_partial=True)
        assert report.mismatched == (("bn.bias", (7,), (2,)),)
        assert report.missing == (("bn.weight", (2,)),) and report.unexpected == ()
        assert "bn.bias" in caplog.text and "(7,)" in caplog.text
        after = model.state_dict()
        assert torch.equal(after["fc.weight"], source.fc.weight)
        assert torch.equal(after["bn.bias"], before["bn.bias"])

    def test_counters_of_old_files_may_be_missing(self):
        source, model = Net(), Net()
        model.bn.num_batches_tracked += 5
        weights = source.state_dict()
        del weights["bn.num_batches_tracked"]
        assert load_weights(model, weights).complete
        assert model.bn.num_batches_tracked == 5

    def test_ignored_keys_are_left_alone_on_both_sides(self):
        model = Net()
        model.distiller = nn.Linear(1, 1)
        before = copy_of(model)
        assert load_weights(model, Net().state_dict()).complete
        assert load_weights(
            Net(), {**Net().state_dict(), "distiller.weight": torch.zeros(9)}
        ).complete
        load_weights(model, {**Net().state_dict(), "distiller.weight": torch.ones(1, 1)})
        assert torch.equal(model.distiller.weight, before["distiller.weight"])

    def test_half_precision_becomes_the_model_s(self):
        weights = {key: value.half() for key, value in Net().state_dict().items()}
        model = Net()
        load_weights(model, weights)
        assert model.fc.weight.dtype == torch.float32
        assert torch.equal(model.fc.weight, weights["fc.weight"].float())
        assert model.bn.num_batches_tracked.dtype == torch.long

    def test_conversions_of_old_keys_are_honoured(self):
        class Renamed(Net):
            def _load_from_state_dict(self, state_dict, prefix, *rest):
                state_dict[prefix + "fc.weight"] = state_dict.pop(prefix + "old.weight")
                super()._load_from_state_dict(state_dict, prefix, *rest)

        model, weights = Renamed(), Net().state_dict()
        weights["old.weight"] = weights.pop("fc.weight")
        load_weights(model, weights)
        assert torch.equal(model.fc.weight, weights["old.weight"])


def head(**layers):
    return nn.ModuleDict({name: nn.Linear(2, rows) for name, rows in layers.items()})


@pytest.mark.parametrize(
    "there, here, hint",
    [
        (dict(fc=1000), dict(fc=10), "has 1000 classes, the model 10 (fc.weight)"),
        (dict(fc_cls=81, fc_reg=320), dict(fc_cls=4, fc_reg=12), "80 classes, the model 3 (fc_reg"),
        (dict(fc_cls=81), dict(fc_cls=4), "80 classes, the model 3 if one row is the background"),
        (
            dict(retina_cls=720, retina_reg=36),
            dict(retina_cls=27, retina_reg=36),
            "80 classes, the model 3 (retina_cls",
        ),
        (dict(conv_cls=80, conv_reg=4), dict(conv_cls=3, conv_reg=4), "80 classes, the model 3 ("),
        (dict(gfl_cls=80, gfl_reg=68), dict(gfl_cls=3, gfl_reg=68), "80 classes, the model 3 ("),
        # The anchors differ as well, or the layer is no head: the count would be a guess.
        (dict(retina_cls=720, retina_reg=36), dict(retina_cls=27, retina_reg=12), None),
        (dict(fc_reg=320), dict(fc_reg=4), None),
        (dict(conv1=64), dict(conv1=32), None),
    ],
)
def test_class_counts_are_named_where_the_shapes_settle_them(there, here, hint):
    with pytest.raises(CheckpointError) as caught:
        load_weights(head(**here), head(**there).state_dict())
    assert (hint in str(caught.value)) if hint else ("classes" not in str(caught.value))


def test_shared_mobilenet_loads_strictly():
    data = os.environ.get("KD_DATA")
    if not data:
        pytest.skip("KD_DATA does not name the folder of shared data")
    pytest.importorskip("safetensors")
    models = pytest.importorskip("torchvision.models")
    path = Path(data) / "weights" / "mobilenet_v2_imagenet_qat_fp16.safetensors"
    weights = state_dict_of(read_checkpoint(path))
    assert weights["features.0.0.weight"].dtype == torch.float16
    model = models.mobilenet_v2()
    assert load_weights(model, weights, source=str(path)).complete
    assert torch.equal(model.classifier[1].weight, weights["classifier.1.weight"].float())
    with pytest.raises(CheckpointError, match=r"1000 classes, the model 10 \(classifier"):
        load_weights(models.mobilenet_v2(num_classes=10), weights)
