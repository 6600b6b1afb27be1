"""The compose file: against its schema, and against what it promises. No Docker engine is needed."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ibid.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
SECRET = re.compile(r"PASSWORD|PASS$|SECRET|API_KEY|ADMIN_KEY|ACCESS_KEY")
KNOWN = {f"IBID_{name.upper()}" for name in Settings.model_fields}


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    return yaml.safe_load(COMPOSE.read_text())["services"]


def environments(services: dict[str, dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Service, variable and value of everything that is set."""
    return [
        (name, variable, str(value))
        for name, service in services.items()
        for variable, value in service.get("environment", {}).items()
    ]


def test_it_follows_the_compose_specification():
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        str(COMPOSE),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_roles_of_the_topology_are_there(services):
    assert services.keys() == {"api", "worker", "migrate", "postgres", "rabbitmq", "qdrant", "s3"}


class TestServices:
    def test_each_that_stays_up_says_when_it_is_well(self, services):
        staying = {name: service for name, service in services.items() if service["restart"] != "no"}
        assert staying.keys() == services.keys() - {"migrate"}
        assert [name for name, service in staying.items() if not service["healthcheck"].get("test")] == []

    def test_each_is_limited(self, services):
        limits = {name: service["deploy"]["resources"]["limits"] for name, service in services.items()}
        assert [name for name, limit in limits.items() if not {"cpus", "memory"} <= limit.keys()] == []

    def test_each_image_is_pinned_to_a_version(self, services):
        images = [service["image"] for service in services.values()]
        assert [image for image in images if not re.search(r":v?\d+(\.\d+)*(-[a-z]+)?$", image)] == []

    def test_each_waits_until_what_it_needs_is_well(self, services):
        for name in ("api", "worker"):
            waits = {server: rule["condition"] for server, rule in services[name]["depends_on"].items()}
            assert waits.pop("migrate") == "service_completed_successfully"
            assert waits == dict.fromkeys(("postgres", "rabbitmq", "qdrant", "s3"), "service_healthy")

    def test_what_must_survive_is_on_a_declared_volume(self, services):
        declared = yaml.safe_load(COMPOSE.read_text())["volumes"].keys()
        mounted = {
            volume.partition(":")[0] for service in services.values() for volume in service.get("volumes", [])
        }
        assert mounted == declared
        assert all(services[name].get("volumes") for name in ("postgres", "rabbitmq", "qdrant", "s3"))


class TestPorts:
    def test_only_the_api_is_published_and_to_this_machine_only(self, services):
        published = {name: service["ports"] for name, service in services.items() if "ports" in service}
        assert published.keys() == {"api"}
        assert all(port.startswith("127.0.0.1:") for port in published["api"])


class TestSecrets:
    def test_none_is_written_down(self, services):
        """A secret is `${NAME:?sentence}` and nothing else: no value, and no default."""
        reference = re.compile(r"^\$\{[A-Z0-9_]+:\?set [A-Z0-9_]+ in \.env to .+\}$")
        literal = [
            f"{name}: {variable}"
            for name, variable, value in environments(services)
            if SECRET.search(variable) and not reference.match(value)
        ]
        assert literal == []

    def test_none_is_written_down_in_an_address(self, services):
        """The password of `scheme://user:password@host` is a reference, too."""
        addresses = [
            value
            for _, _, value in environments(services)
            if re.match(r"[a-z0-9+]+://[^/]*@", re.sub(r"\$\{[^}]*\}", "$", value))
        ]
        assert len(addresses) >= 2
        assert all(re.match(r"[a-z0-9+]+://\w+:\$\{[A-Z_]+:\?[^}]+\}@", address) for address in addresses)

    def test_each_variable_is_explained_in_the_example(self):
        """Whoever copies .env.example meets every variable that the compose file reads, and no other."""
        read = set(re.findall(r"(?<!\$)\$\{([A-Z0-9_]+)", COMPOSE.read_text()))
        example = (ROOT / ".env.example").read_text()
        explained = set(re.findall(r"^([A-Z0-9_]+)=", example, re.MULTILINE))
        assert read == explained

    def test_the_example_holds_no_secret(self):
        values = dict(re.findall(r"^([A-Z0-9_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
        assert {name: value for name, value in values.items() if SECRET.search(name) and value} == {}


class TestSettings:
    def test_every_setting_named_exists(self, services):
        named = {variable for _, variable, _ in environments(services) if variable.startswith("IBID_")}
        named |= set(re.findall(r"\bIBID_[A-Z0-9_]+", (ROOT / "Dockerfile").read_text()))
        named |= set(re.findall(r"\bIBID_[A-Z0-9_]+", (ROOT / ".env.example").read_text()))
        assert named - KNOWN == set()

    def test_the_settings_read_as_distributed(self, services, monkeypatch):
        """The values of the compose file, filled in, are values that the settings accept."""
        for name, variable, value in environments(services):
            if name == "api":
                filled = re.sub(r"\$\{[A-Z0-9_]+:-([^}]*)\}", r"\1", value)
                monkeypatch.setenv(variable, re.sub(r"\$\{[A-Z0-9_]+:\?[^}]*\}", "filled", filled))
        settings = Settings()
        assert not settings.standalone
        assert settings.database_url == "postgresql+psycopg://ibid:filled@postgres:5432/ibid"
        assert settings.broker_url == "amqp://ibid:filled@rabbitmq:5672//"
        assert settings.blobs_url == "s3://ibid"


class TestImage:
    def test_it_runs_as_nobody_special(self):
        users = re.findall(r"^USER (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
        assert users
        assert users[-1] not in {"0", "root"}

    def test_it_says_when_it_is_well(self):
        assert re.search(r"^HEALTHCHECK ", (ROOT / "Dockerfile").read_text(), re.MULTILINE)

    def test_what_it_copies_is_sent_to_the_builder(self):
        """.dockerignore lets in what is named; a COPY of anything else fails only on the machine that builds."""
        let_in = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
        copied = {
            source.partition("/")[0]
            for sources in re.findall(
                r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE
            )
            for source in sources.split()
            if source != "."
        }
        assert copied <= let_in
        assert [name for name in let_in if not (ROOT / name).exists()] == []
