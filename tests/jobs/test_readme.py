"""The README's commands and snippets, tried on what a small run left."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conf.settings import load_settings
from jobs import cli, get, pipeline, sample, serve
from jobs.feature_store import embedded_folder
from stores.embedded.local import LocalFeatureStore

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
JOB = re.compile(r"(?:^|[ `/])etr ([a-z_]+)(?= |`|$)")


@pytest.fixture(scope="module")
def place(spark, tmp_path_factory) -> Path:
    """A folder with `raw` and `lake`, as `make run` leaves them."""
    folder = tmp_path_factory.mktemp("readme")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert sample.main(["--customers", "40", "--years", "1", "--to", str(folder / "raw")]) == 0
        options = ["--raw", str(folder / "raw"), "--lake", str(folder / "lake"), "--as-of", "2025-09-30"]
        assert pipeline.main([*options, "--groups", "customer_bnpl"]) == 0
    return folder


def snippets(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", README, re.S)


def test_the_snippets_of_python_run_as_they_stand(place):
    data = embedded_folder(str(place / "lake"))
    with LocalFeatureStore(data) as store:
        for code in snippets("python"):
            done = subprocess.run(
                [sys.executable, "-c", code], cwd=place, env=os.environ | store.env(), capture_output=True, text=True, timeout=120
            )
            assert done.returncode == 0, done.stderr


def test_the_record_that_is_named_can_be_read(place, capsys):
    command = next(line for block in snippets("console") for line in block.splitlines() if "etr get" in line)
    words = command.split("etr get ")[1].split()
    capsys.readouterr()
    assert get.main([*words, "--lake", str(place / "lake")]) == 0
    assert "bnpl_plan_count_30d" in capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_job_and_target_that_a_page_names_is_there(page):
    blocks = "\n".join(re.findall(r"```(?:console|sh)\n(.*?)```", page.read_text(), re.S))
    for job in JOB.findall(blocks):
        assert job in cli._present(), job
    targets = re.findall(r"^\$? ?make ([a-z-]+)", blocks, re.M)
    makefile = (ROOT / "Makefile").read_text()
    assert not [target for target in targets if not re.search(rf"^{target}:", makefile, re.M)]


def test_a_feature_of_the_readme_is_one_that_ships():
    explained = next(block for block in snippets("yaml") if "bnpl_active_plan_count" in block)
    shipped = (ROOT / "conf" / "feature_groups" / "customer_bnpl.yaml").read_text()
    assert [line.strip() for line in explained.splitlines() if line.strip() not in shipped] == []


def test_pages_link_to_pages_that_are_there():
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+\.md)[^)]*\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_serving_is_what_the_readme_says(capsys):
    with pytest.raises(SystemExit):
        serve.main(["--help"])
    out = capsys.readouterr().out
    assert "--print-env" in out
    assert "--data" in out
    assert load_settings("local").feature_store.embedded
