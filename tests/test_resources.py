"""What all sessions share, as it is made ready when the server starts."""

import gc

from ui import resources


def test_the_collector_passes_over_what_was_loaded_before_the_first_visitor(monkeypatch, tmp_path):
    monkeypatch.setenv("LSS_MODELS", str(tmp_path / "no models"))
    gc.collect()                                # what other tests left is no part of what is loaded
    before = len(gc.get_objects())
    try:
        resources.warm_up().join()
        assert gc.get_freeze_count() > 0.9 * before
        assert len(gc.get_objects()) < 0.1 * before
    finally:
        gc.unfreeze()
