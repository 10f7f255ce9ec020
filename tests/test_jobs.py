import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from lss_core import jobs
from lss_core.__main__ import DONE, REFUSED, main
from lss_core.curation.scans import scans_of
from lss_core.grading.checkpoint import read_card
from lss_core.grading.pipeline import MODELS
from lss_core.many.found import find_scans
from lss_core.many.queued import grade_by_queue, states
from lss_core.many.results import Model
from lss_core.settings import Settings
from lss_core.training.run_folder import RunState
from lss_core.training_runs import NewRun, every_run, start_by_operator, stop_by_operator
from lss_core.vocabulary import Refusal
from tests import scans
from tests.curated import curated
from tests.trainable import write_configuration, write_graded

ROOT = Path(__file__).resolve().parent.parent
V1 = Model("v1", read_card(MODELS, "v1").weights_sha256)
BEAT_S, STALLED_S = 0.5, 3.0
AT_WORK = "select 1 from procrastinate_jobs where status = 'doing'"


@pytest.fixture
def settings(databases, tmp_path):
    """An installation on PostgreSQL with its queue."""
    url = databases.new("postgresql")
    settings = Settings(database_url=url, data=tmp_path / "data", runs=tmp_path / "runs")
    assert jobs.prepare(settings) and not jobs.prepare(settings)
    yield settings
    databases.drop(url)


@pytest.fixture
def folder(tmp_path):
    """Three scans that show no spine."""
    for number in range(3):
        (tmp_path / "scans" / f"scan {number}").mkdir(parents=True)
        scans.write_series(tmp_path / "scans" / f"scan {number}", slices=8, shape=(64, 64), series_uid=f"1.2.{number}")
    return tmp_path / "scans"


@contextmanager
def worker(settings: Settings, *flags: str):
    """A real worker process."""
    environment = os.environ | {
        "DATABASE_URL": settings.database_url, "LSS_DATA": str(settings.data), "LSS_RUNS": str(settings.runs),
        "LSS_MODELS": str(settings.models),
    }
    command = [sys.executable, "-m", "lss_core", "worker", "--beat-s", str(BEAT_S), "--stalled-s", str(STALLED_S)]
    with subprocess.Popen([*command, *flags], cwd=ROOT, env=environment, start_new_session=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def query(settings: Settings, statement: str) -> list[tuple]:
    with psycopg.connect(jobs.connection_info(settings.database_url)) as connection:
        return connection.execute(statement).fetchall()


def until(true, *, seconds: float = 90.0) -> None:
    for _ in range(int(seconds / 0.05)):
        if true():
            return
        time.sleep(0.05)
    pytest.fail("it did not come about in time")


def results(out: Path) -> dict[str, dict]:
    return {path.stem: json.loads(path.read_text()) for path in (out / "results").glob("*.json")}


def test_a_worker_killed_at_its_scan_is_replaced_and_no_scan_is_lost_or_graded_twice(settings, folder, tmp_path):
    out, found, done = tmp_path / "out", find_scans(folder), []
    waiting = threading.Thread(target=lambda: done.extend(grade_by_queue(settings, found, out, V1)))
    waiting.start()
    with worker(settings, "--queue", "grade") as mortal, worker(settings, "--queue", "grade"):
        until(lambda: len(query(settings, AT_WORK)) == 2)       # both are at a scan, and load the networks
        os.kill(mortal.pid, signal.SIGKILL)
        waiting.join(timeout=120)
    assert [each.scan for each in done] == list(found.scans)
    assert {each.sha256 for each in done} == set(results(out)) and len(results(out)) == 3
    assert {report["status"] for report in results(out).values()} == {"refused"}
    attempts = [row[0] for row in query(settings, "select attempts from procrastinate_jobs order by attempts")]
    assert query(settings, "select distinct status from procrastinate_jobs") == [("succeeded",)]
    assert attempts[-1] == 2 and sum(attempts) == 4             # one was begun twice


def test_a_scan_that_ended_its_worker_twice_is_set_aside(settings, folder, tmp_path):
    out, done = tmp_path / "out", []
    found = find_scans(folder)
    waiting = threading.Thread(target=lambda: done.extend(grade_by_queue(settings, found, out, V1)))
    waiting.start()
    until(lambda: len(query(settings, "select 1 from procrastinate_jobs")) == 3)
    with psycopg.connect(jobs.connection_info(settings.database_url)) as connection:
        connection.execute("update procrastinate_jobs set attempts = 2 where args->>'scan' = 'scan 1'")
    with worker(settings, "--until-empty"):
        waiting.join(timeout=120)
    assert [each.status for each in done] == ["refused", "set aside", "refused"]


def test_a_command_that_is_repeated_puts_no_scan_in_twice(settings, folder, tmp_path):
    with jobs.queue_app(settings).open() as app:
        numbers = [
            jobs.defer_grading(app, folder=folder, out=tmp_path / "out", scan=scan, model=V1)
            for scan in ("scan 0", "scan 1", "scan 0")
        ]
        assert numbers[0] == numbers[2] != numbers[1]
        assert states(app) == {("grade", "todo"): 2}


def test_a_training_run_is_carried_out_by_a_worker_and_goes_on_after_the_worker_is_told_to_end(settings, tmp_path):
    wanted = NewRun(
        "ours", write_graded(tmp_path / "part", ["P1", "P2"]), None,
        configuration=write_configuration(tmp_path / "tiny.json", steps=80),
    )
    local = replace(settings, models=tmp_path / "models", train_by_queue=True)

    def run(**later):
        (found,) = every_run(local, now=datetime.now(UTC) + timedelta(**later))
        return found

    run_id = start_by_operator(local, wanted)
    assert run(hours=2).state is RunState.QUEUED                # until a worker comes
    with worker(local, "--queue", "train", "--grace-s", "0") as first:
        until(lambda: run().step >= 10 or run().state.ended)
        assert run().state is RunState.RUNNING
        first.terminate()
        first.wait(timeout=60)
    saved_at = run().step
    assert run().state is RunState.STOPPED and 10 <= saved_at < 80
    with worker(local, "--queue", "train", "--until-empty") as second:
        second.wait(timeout=120)
    assert run().state is RunState.DONE and (local.models / "ours.json").is_file()
    assert "step 80/80" in run().log_tail and [point.step for point in run().curve] == list(range(10, 81, 10))
    assert query(settings, "select status, attempts from procrastinate_jobs") == [("succeeded", 2)]
    with pytest.raises(Refusal, match="nothing to stop"):
        stop_by_operator(local, run_id)


def test_a_training_run_that_waits_for_a_worker_can_be_stopped(settings, tmp_path):
    wanted = NewRun("ours", write_graded(tmp_path / "part", ["P1"]), None,
                    configuration=write_configuration(tmp_path / "tiny.json"))
    local = replace(settings, models=tmp_path / "models", train_by_queue=True)
    stop_by_operator(local, start_by_operator(local, wanted))
    with worker(local, "--until-empty") as process:
        process.wait(timeout=120)
    (run,) = every_run(local)
    assert run.state is RunState.STOPPED and not local.models.exists()


def test_a_worker_imports_into_a_collection_and_again_is_no_harm(settings, tmp_path, monkeypatch, capsys):
    made = curated(settings.database_url, tmp_path / "images", patients=1)
    for name, value in (("DATABASE_URL", settings.database_url), ("LSS_IMAGES", str(tmp_path / "images"))):
        monkeypatch.setenv(name, value)
    (tmp_path / "incoming").mkdir()
    scans.write_series(tmp_path / "incoming", slices=30, shape=(64, 64))
    for _ in range(2):
        assert main(["queue", "import", str(tmp_path / "incoming"), "--collection", made.token]) == DONE
    with worker(settings, "--until-empty") as process:
        process.wait(timeout=120)
    assert main(["queue", "status"]) == DONE and "import: 2 succeeded" in capsys.readouterr().out
    assert len(scans_of(made.engine, made.pi, made.collection_id)) == 2
    made.engine.dispose()


def test_the_queue_keeps_to_its_own_schema(settings):
    with psycopg.connect(settings.database_url) as connection:
        found = connection.execute(
            "select distinct schemaname from pg_tables where tablename like 'procrastinate%'"
        ).fetchall()
    assert found == [(jobs.SCHEMA,)]


def test_the_command_prepares_the_queue_and_tells_of_it(databases, monkeypatch, capsys, tmp_path):
    url = databases.new("postgresql")
    monkeypatch.setenv("DATABASE_URL", url)
    assert main(["worker"]) == REFUSED and "worker --prepare" in capsys.readouterr().err
    assert main(["grade", str(tmp_path), "--many", "--queue"]) == REFUSED
    assert main(["worker", "--prepare"]) == DONE and "ready" in capsys.readouterr().out
    assert main(["queue", "status"]) == DONE and "no job" in capsys.readouterr().out
    databases.drop(url)


def test_the_queue_needs_postgresql(tmp_path):
    with pytest.raises(Refusal, match="needs PostgreSQL"):
        jobs.prepare(Settings(database_url=f"sqlite:///{tmp_path / 'a.sqlite'}"))
