"""The main job in S3: in local mode, by spark-submit on a standalone cluster and on YARN; the same rows as on a folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.conftest import ROOT, ended, made, run_here, strays


@pytest.mark.parametrize("writer", ["workers", "jvm"])
def test_in_local_mode(in_s3, expected, writer):
    run = run_here("--env", "local", "--writer", writer, *in_s3.arguments)

    assert run.code == 0, run.last_words
    assert made(in_s3.lake, run) == expected
    assert strays(in_s3.lake) == []
    again = run_here("--env", "local", *in_s3.arguments)
    assert (again.code, again.summary["counts"]["changed"]) == (0, 0)
    commands = again.said.partition("Next:\n")[2].splitlines()
    assert len(commands) == 2
    for command in commands:  # online and offline, each shows records
        here = command.replace(".venv/bin", str(Path(sys.executable).parent))
        shown = subprocess.run(here, shell=True, cwd=ROOT, capture_output=True, text=True, check=True)
        assert "account_id" in shown.stdout


def test_on_a_standalone_cluster(in_s3, expected, standalone, submit, packed):
    options = {"spark.executor.cores": "1", "spark.cores.max": "2", "spark.pyspark.driver.python": str(packed.python)}
    command = submit.command(["--master", standalone.master], options, in_s3.arguments)
    done = subprocess.run(command, cwd=submit.folder, env=submit.environ, capture_output=True, text=True, check=False)

    run = ended(done.returncode, done.stdout, done.stderr)
    assert run.code == 0, run.last_words
    assert made(in_s3.lake, run) == expected
    assert strays(in_s3.lake) == []


def test_on_yarn_in_cluster_mode(in_s3, expected, yarn, submit, spark_home, tmp_path):
    """The driver is a container, too: nothing but Spark's own jars, S3 and the Feature Store's address is this machine's."""
    options = {
        "spark.yarn.jars": f"local:{spark_home}/jars/*",
        "spark.executor.instances": "2",
        "spark.yarn.stagingDir": (tmp_path / "staging").as_uri(),
        "spark.yarn.appMasterEnv.PYSPARK_PYTHON": "./environment/bin/python",
        "spark.executorEnv.PYSPARK_PYTHON": "./environment/bin/python",
        "spark.yarn.appMasterEnv.SPARK_LOCAL_IP": "127.0.0.1",
        "spark.yarn.submit.waitAppCompletion": "true",
    }
    command = submit.command(["--master", "yarn", "--deploy-mode", "cluster"], options, in_s3.arguments)
    env = {**submit.environ, "HADOOP_CONF_DIR": str(yarn.conf), "YARN_CONF_DIR": str(yarn.conf)}
    done = subprocess.run(command, cwd=submit.folder, env=env, capture_output=True, text=True, check=False)

    run = ended(done.returncode, yarn.printed(), done.stderr)
    assert run.code == 0, f"{run.last_words}\n{yarn.logs()}"
    assert made(in_s3.lake, run) == expected
    assert strays(in_s3.lake) == []
