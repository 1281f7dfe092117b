import gc

import pytest

from kd_core.packages import kept_imports, quick_imports


@pytest.fixture(autouse=True)
def collector():
    assert gc.isenabled()
    frozen = gc.get_freeze_count()
    yield
    assert gc.isenabled()
    if not frozen:
        gc.unfreeze()


def test_nothing_is_collected_within():
    with quick_imports():
        assert not gc.isenabled()
        with quick_imports():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_an_error_turns_the_collector_on_again():
    with pytest.raises(ImportError), quick_imports():
        import no_such_module  # noqa: F401
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off():
    gc.disable()
    try:
        quick_imports()(lambda: None)()
        assert not gc.isenabled()
    finally:
        gc.enable()


def import_lists(number):
    with quick_imports():
        return [[] for _ in range(number)]


def test_only_a_command_keeps_what_is_imported_out_of_collections():
    before = gc.get_freeze_count()
    import_lists(30_000)
    assert gc.get_freeze_count() == before
    with kept_imports():
        gc.collect()
        import_lists(1000)
        assert gc.get_freeze_count() == before
        kept = import_lists(30_000)
    assert gc.get_freeze_count() >= before + len(kept)
