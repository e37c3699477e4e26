"""The container files, held to the repository: what they copy, run and listen on is there. No engine builds them here."""

from __future__ import annotations

import re
import shlex
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import yaml

from syncd.durations import parse_duration
from syncd.service.assembly import check_configuration

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "docs" / "deploy"


def steps() -> list[tuple[str, str]]:
    text = (DEPLOY / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in lines]


def compose() -> dict[str, Any]:
    found = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    assert isinstance(found, dict)
    return found


def test_what_is_copied_is_there_and_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    kept = [line[1:] for line in ignored if line.startswith("!")]
    assert ignored[0] == "*"
    copied = [word for verb, rest in steps() if verb == "COPY" and "--from" not in rest for word in rest.split()[:-1]]
    assert {"requirements.lock", "pyproject.toml", "syncd"} <= set(copied)
    for name in copied:
        assert (ROOT / name).exists(), name
        assert any(fnmatchcase(name, pattern) for pattern in kept), f"{name} is in .dockerignore"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    needed = [*packages, project["project"]["readme"], *project["project"]["license-files"]]
    links = [path for package in packages for path in (ROOT / package).rglob("*") if path.is_symlink()]
    needed += [path.resolve().relative_to(ROOT).as_posix() for path in links]
    assert set(needed) <= set(copied), "the wheel cannot be built without"


def test_the_entry_point_exists_and_no_shell_runs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    last = dict(steps())
    assert yaml.safe_load(last["ENTRYPOINT"])[0] in project["project"]["scripts"]
    assert yaml.safe_load(last["CMD"]) == ["run"]
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert last["USER"] == "syncd"
    assert [rest for verb, rest in steps() if verb == "RUN" and not rest.startswith("[") and "venv" not in rest] == []
    extra = next(rest for verb, rest in steps() if verb == "RUN" and "syncd[" in rest)
    assert re.findall(r"syncd\[(\w+)\]", extra)[0] in project["project"]["optional-dependencies"]


def test_bases_are_pinned_by_a_tag() -> None:
    images = [rest.split()[0] for verb, rest in steps() if verb == "FROM"]
    images += [one["image"] for one in compose()["services"].values() if "image" in one]
    assert len(images) == 4
    assert all(re.fullmatch(r"[a-z]+:[0-9][\w.-]*", image) for image in images)
    assert len({image for image in images if image.startswith("python")}) == 1, "built and run by the same Python"


def test_ports_and_paths_match() -> None:
    last, here = dict(steps()), compose()["services"]
    config = yaml.safe_load((DEPLOY / "config.yaml").read_text("utf-8"))
    port = config["server"]["listen"].rpartition(":")[2]
    assert last["EXPOSE"] == port
    assert here["syncd"]["expose"] == [port]
    assert f":{port}/healthz" in last["HEALTHCHECK"]
    assert f"syncd:{port}" in (DEPLOY / "Caddyfile").read_text("utf-8")
    mounted = {volume.split(":")[1] for volume in here["syncd"]["volumes"]}
    assert mounted == {last["VOLUME"], shlex.split(last["ENV"])[-1].partition("=")[2]}
    host = re.search(r"^(\S+) \{", (DEPLOY / "Caddyfile").read_text("utf-8"), re.MULTILINE)
    assert host is not None
    assert config["server"]["public_url"] == f"https://{host.group(1)}"


def test_compose_hangs_together() -> None:
    found = compose()
    secrets, volumes = set(found["secrets"]), set(found["volumes"])
    for name, service in found["services"].items():
        assert set(service.get("secrets", ())) <= secrets, name
        assert set(service.get("depends_on", ())) <= set(found["services"]), name
        assert set(service["networks"]) <= set(found["networks"]), name
        named = {volume.split(":")[0] for volume in service.get("volumes", ())}
        files = {one for one in named if one.startswith("./")}
        assert named - files <= volumes, name
        assert all((DEPLOY / one).exists() for one in files), name
    build = found["services"]["syncd"]["build"]
    assert (DEPLOY / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).exists()
    used = re.findall(r"/run/secrets/(\w+)", (DEPLOY / "config.yaml").read_text("utf-8"))
    assert set(used) == set(found["services"]["syncd"]["secrets"])
    assert parse_duration(found["services"]["syncd"]["stop_grace_period"]).total_seconds() >= 60
    assert found["networks"]["inside"]["internal"] is True


def test_its_configuration_passes_check(tmp_path: Path) -> None:
    text = (DEPLOY / "config.yaml").read_text("utf-8").replace("/run/secrets", str(tmp_path))
    for name, database in (("database_url", "syncd"), ("archive_url", "archive")):
        (tmp_path / name).write_text(f"postgresql+psycopg://syncd:x@postgres/{database}", "utf-8")
    (tmp_path / "secret_key").write_text("k" * 64, "utf-8")
    (tmp_path / "forms_secret").write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "utf-8")
    (tmp_path / "config.yaml").write_text(text, "utf-8")
    report = check_configuration(tmp_path / "config.yaml")
    assert (report.faults, report.missing, report.warnings) == ((), (), ())
    assert report.summary.startswith("ok")


def test_the_lock_has_what_the_image_installs() -> None:
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    for needed in ("hatchling==", "opentelemetry-sdk=="):
        assert needed in lock


@pytest.mark.parametrize("file", ["Dockerfile", "compose.yaml", "Caddyfile", "config.yaml"])
def test_the_page_speaks_of_each_file(file: str) -> None:
    assert file in (DEPLOY / "README.md").read_text("utf-8")
