"""Asks pip-audit for known vulnerabilities in lock files; says so, and goes on, where its service can't be reached.

Usage: audit.py LOCK… Exit code 1 when a locked version has a known vulnerability, or pip-audit itself failed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

UNREACHABLE = ("could not connect", "connectionerror", "max retries exceeded", "timed out", "name resolution", "proxyerror")


def audit(lock: str) -> int:
    """Return 1 when `lock` has findings or could not be read, else 0; print what was found."""
    command = [str(Path(sys.executable).with_name("pip-audit")), "--disable-pip", "--require-hashes", "-r", lock]
    run = subprocess.run(
        [*command, "--format", "json", "--progress-spinner", "off", "--timeout", "30"], capture_output=True, text=True
    )
    try:
        packages = json.loads(run.stdout)["dependencies"]
    except (json.JSONDecodeError, KeyError):
        if any(sign in run.stderr.lower() for sign in UNREACHABLE):
            print(f"pip-audit: {lock} NOT AUDITED, the advisory service can't be reached from this machine")
            return 0
        print(run.stderr.strip() or run.stdout.strip(), file=sys.stderr)
        return 1

    findings = [(p["name"], p["version"], v) for p in packages for v in p.get("vulns", [])]
    for name, version, finding in findings:
        fixed = ", ".join(finding.get("fix_versions", [])) or "none yet"
        print(f"pip-audit: {lock}: {name} {version} has {finding['id']}; fixed in: {fixed}", file=sys.stderr)
    skipped = [p["name"] for p in packages if "skip_reason" in p]
    if skipped and len(skipped) == len(packages):
        print(f"pip-audit: {lock} NOT AUDITED, this machine's package index carries no advisories")
    elif skipped:
        print(f"pip-audit: {lock}: not audited: {', '.join(skipped)}")
    if not findings and len(skipped) < len(packages):
        print(f"pip-audit: {lock}: {len(packages) - len(skipped)} packages, no known vulnerability")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(max([audit(lock) for lock in sys.argv[1:]], default=0))
