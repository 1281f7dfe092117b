"""kdkit search."""

import re
import runpy
import shutil
from pathlib import Path

import faiss
import pytest
import torch

TOY = runpy.run_path(str(Path(__file__).parents[1] / "kd_retrieval/toy_retrieval.py"))


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return TOY["make"](tmp_path_factory.mktemp("toy"))


@pytest.fixture
def gallery(toy, run_tool, tmp_path):
    out = tmp_path / "gallery"
    assert run_tool("embed", toy.config, toy.student, out)[0] == 0
    return out


@pytest.fixture
def others(toy, run_tool, tmp_path):
    """Embeddings by other weights."""
    content = torch.load(toy.student, weights_only=True)
    content["state_dict"]["projection.bias"] += 1
    torch.save(content, tmp_path / "other.pth")
    out = tmp_path / "others.npz"
    assert run_tool("embed", toy.config, tmp_path / "other.pth", out)[0] == 0
    return out


def kinds(page):
    """Marks of each query's neighbors."""
    sections = page.read_text(encoding="utf-8").split("<section>")[1:]
    return [re.findall(r"<figure class=(\w+)", section) for section in sections]


@pytest.mark.parametrize("source", ["config", "images", None])
def test_a_page_of_queries(toy, gallery, run_tool, tmp_path, source):
    page = tmp_path / "below/page.html"
    where = {"config": ("--config", toy.config), "images": ("--images", toy.root), None: ()}
    code, text, error = run_tool(
        "search", gallery, "--out", page, "--k", "3", "--show", "4", *where[source]
    )
    assert code == 0, error
    assert re.search(r"recall@1 +\d+\.\d\d%", text) and re.search(r"queries +24\n", text)
    found = kinds(page)
    assert len(found) == 4 and all(len(row) == 4 and row[0] == "query" for row in found)
    assert {kind for row in found for kind in row[1:]} <= {"right", "wrong"}
    assert page.read_text().count('src="data:image/png') == (16 if source else 0)
    assert "4 of 24 queries, chosen by chance" in page.read_text()


def test_the_figures_agree_with_the_marks(toy, gallery, run_tool, tmp_path):
    page = tmp_path / "page.html"
    code, text, _ = run_tool("search", gallery, "--out", page, "--k", "1", "--show", "99")
    share = float(re.search(r"recall@1 +([\d.]+)%", text)[1])
    found = kinds(page)
    assert code == 0 and len(found) == 24 and "All 24 queries" in page.read_text()
    assert share == pytest.approx(100 * sum(row[1] == "right" for row in found) / 24, abs=0.01)
    asked = ("--k", "1", "--show", "99", "--worst", "--overwrite")
    run_tool("search", gallery, "--out", page, *asked)
    worst = [row[1] for row in kinds(page)]
    assert worst == sorted(worst, reverse=True) and {"right", "wrong"} == set(worst)


def test_new_images_are_searched_for(toy, gallery, run_tool, tmp_path):
    folder, page = tmp_path / "new", tmp_path / "page.html"
    shutil.copytree(toy.root / "3", folder / "duck")
    shutil.copy(toy.root / "2/0.png", folder / "what.png")
    new = tmp_path / "new.npz"
    assert run_tool("embed", toy.config, toy.student, new, "--image-folder", folder)[0] == 0
    asked = ("search", gallery, "--queries", new, "--out", page, "--k", "2", "--overwrite")
    shown = ("--images", toy.root, "--query-images", folder)
    code, text, error = run_tool(*asked, *shown)
    assert code == 0 and "1 queries have no positive and are left out." in text, error
    found = kinds(page)
    assert len(found) == 9 and found[-1] == ["query", "open", "open"]
    assert all(set(row[1:]) <= {"right", "wrong"} for row in found[:-1])
    assert "A gray frame" in page.read_text()
    code, _, error = run_tool(*asked, "--config", toy.config)
    assert code == 1 and "--query-images" in error
    shutil.rmtree(folder / "duck")
    run_tool("embed", toy.config, toy.student, new, "--image-folder", folder, "--overwrite")
    code, text, error = run_tool(*asked, *shown)
    assert code == 0 and "recall@" not in text and "no recall" in text, error


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_an_index_is_kept_and_another_checkpoints_is_refused(
    gallery, others, run_tool, tmp_path, kind
):
    index, page = tmp_path / "an.index", tmp_path / "page.html"
    asked = ("--out", page, "--overwrite", "--index", kind, "--index-file", index)
    code, text, error = run_tool("search", gallery, *asked)
    assert code == 0 and ("hnsw index finds" in text) == (kind == "hnsw"), error
    first, written = page.read_text(), index.stat().st_mtime_ns
    code, _, _ = run_tool("search", gallery, *asked)
    assert code == 0 and page.read_text() == first and index.stat().st_mtime_ns == written
    page.unlink()
    code, _, error = run_tool("search", others, *asked)
    assert code == 1 and "an.index is stale: it was made from another checkpoint" in error
    assert "another data" not in error and not page.exists()
    code, _, error = run_tool("search", gallery, *asked, "--metric", "l2")
    assert code == 1 and f"must be a {kind} index with l2, but it is a {kind} one" in error


def test_a_foreign_file_is_no_index_and_is_kept(gallery, run_tool, tmp_path):
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"mine")
    code, _, error = run_tool(
        "search", gallery, "--out", tmp_path / "page.html", "--index-file", photo
    )
    assert code == 1 and "photo.jpg is not an index" in error and photo.read_bytes() == b"mine"


def test_queries_of_another_network(gallery, others, run_tool, tmp_path):
    asked = ("search", gallery, "--queries", others, "--out", tmp_path / "page.html")
    code, _, error = run_tool(*asked)
    assert code == 1 and "another checkpoint" in error and "--asymmetric" in error
    code, _, error = run_tool(*asked, "--asymmetric")
    assert code == 0, error


def test_more_neighbors_than_images(gallery, run_tool, tmp_path):
    page = tmp_path / "page.html"
    asked = ("search", gallery, "--out", page, "--k", "99", "--ks", "1", "50", "--show", "2")
    code, text, error = run_tool(*asked)
    assert code == 0 and re.search(r"recall@50 +100.00%", text), error
    assert "K of 50 is beyond the 23 images" in text
    assert [len(row) for row in kinds(page)] == [24, 24]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--k", "0"), "k must be at least 1"),
        (("--show", "0"), "at least one query must be shown"),
        (("--ks", "0"), "ks must be whole numbers from 1"),
        (("--index", "ivf"), "at least 390 vectors"),
        (("--probes", "3"), "probes must be at least 1, of ivf or hnsw"),
        (("--images", "lost"), "is missing"),
        (("--queries", "lost.npz"), "there are no embeddings lost.npz"),
    ],
)
def test_bad_requests(gallery, run_tool, tmp_path, arguments, message):
    page = tmp_path / "page.html"
    code, _, error = run_tool("search", gallery, "--out", page, *arguments)
    assert code == 1 and message in error and not page.exists(), error


def test_a_gpu_is_used_or_refused_at_once(toy, gallery, run_tool, tmp_path, monkeypatch):
    page = tmp_path / "page.html"
    code, _, error = run_tool("search", "no such file", "--device", "nonsense", "--out", page)
    assert code == 1 and "must be cpu, cuda or cuda:N, but it is 'nonsense'" in error
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    code, _, error = run_tool("search", "no such file", "--device", "cuda", "--out", page)
    assert code == 1 and "needs a GPU build of FAISS" in " ".join(error.split())
    monkeypatch.setattr(faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", lambda _, number, index: index, raising=False)
    code, text, error = run_tool("search", gallery, "--device", "cuda", "--out", page)
    assert code == 0, error
    assert re.search(r"index +flat on cuda\n", text) and page.exists()
