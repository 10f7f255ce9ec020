"""The README's two commands do what they say."""

import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def command(name: str) -> str:
    found = re.search(rf"<!-- command: {name} -->\n```\w*\n(.*?)\n```", (ROOT / "README.md").read_text(), re.S)
    assert found, f"README.md has no command named {name}"
    return found.group(1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_readme_has_exactly_two_setup_commands():
    assert re.findall(r"<!-- command: (\w+) -->", (ROOT / "README.md").read_text()) == ["start", "test"]


def test_this_environment_is_what_the_readme_installs():
    for name, requirements in (("start", "requirements.txt"), ("test", "requirements-dev.txt")):
        assert f"pip install -r {requirements}" in command(name)
        done = subprocess.run(
            [sys.executable, "-m", "pip", "install", "--no-index", "--quiet", "-r", requirements],
            cwd=ROOT, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def test_start_command_serves_the_app_on_the_loopback_address():
    assert command("start").endswith(".venv/bin/streamlit run app.py")
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port), "--server.headless", "true"],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert healthy_within(port, seconds=60)
    finally:
        server.terminate()
        server.wait(20)


def healthy_within(port: int, *, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5) as reply:
                return reply.status == 200
        except OSError:
            time.sleep(0.3)
    return False


def test_continuous_integration_runs_the_readme_test_command():
    shown = subprocess.run([ROOT / ".ci/run", "--print"], capture_output=True, text=True, timeout=20)
    assert shown.stdout.strip() == command("test").strip()
    assert "-m pytest" in command("test")
