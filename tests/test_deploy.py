import re
import shlex
from pathlib import Path

import yaml

from lss_core.__main__ import build_parser
from lss_core.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
APPS = sorted(name for name in SERVICES if name.startswith("app-"))


def test_the_proxy_knows_every_replica_of_the_app_and_no_other():
    upstream = re.findall(r"server ([\w-]+):8501", (DEPLOY / "nginx.conf").read_text())
    assert sorted(upstream) == APPS and len(APPS) == 2
    assert set(SERVICES["proxy"]["depends_on"]) == set(APPS)


def test_apps_and_workers_share_database_folders_and_settings():
    environments = [SERVICES[name]["environment"] for name in (*APPS, "worker", "prepare")]
    assert all(each == environments[0] for each in environments)
    assert all(SERVICES[name]["volumes"] == ["shared:/srv/lss"] for name in (*APPS, "worker", "prepare"))
    settings = Settings.from_environment(environments[0])
    assert settings.train_by_queue and settings.database_url.startswith("postgresql://")
    for folder in (settings.data, settings.models, settings.runs, Path(settings.image_store)):
        assert folder.is_relative_to("/srv/lss")


def test_every_service_that_depends_on_another_names_one_that_is_there():
    for service in SERVICES.values():
        assert set(service.get("depends_on", {})) <= set(SERVICES)
    assert {"shared", "database"} == set(COMPOSE["volumes"]) and set(COMPOSE["secrets"]) == {"sign-in"}


def test_the_commands_of_the_services_are_those_of_the_command_line():
    units = [(DEPLOY / name).read_text() for name in ("lumbar-stenosis-worker@.service",)]
    found = [re.search(r"^ExecStart=(.*)$", unit, re.M).group(1) for unit in units]
    found += [shlex.join(SERVICES["worker"]["command"]), SERVICES["prepare"]["command"][2].split("&& ")[-1]]
    for command in found:
        arguments = command.split(" -m lss_core ")[1].split()
        assert build_parser().parse_args(arguments).run.__name__ == "run_worker"


def test_an_upload_that_the_app_takes_passes_the_proxy():
    streamlit = int(re.search(r"maxUploadSize = (\d+)", (ROOT / ".streamlit" / "config.toml").read_text()).group(1))
    proxy = int(re.search(r"client_max_body_size (\d+)m", (DEPLOY / "nginx.conf").read_text()).group(1))
    assert proxy > streamlit
