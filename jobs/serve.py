"""The embedded Feature Store in the foreground: SageMaker's own protocol on 127.0.0.1, until Ctrl-C."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.arguments import JobParser, load_settings_for
from jobs.summary import Summary, run_job

if TYPE_CHECKING:
    from stores.embedded.server import ServerInfo

DEFAULT_PORT = 8490


def main(argv: Sequence[str] | None = None) -> int:
    parser = JobParser(
        "serve",
        "Serve the Feature Store of a lake to boto3, the AWS CLI and everything else that speaks to SageMaker, until Ctrl-C.",
        common=("env", "lake", "set"),
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="where the records are (default: feature_store/ in the lake)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, metavar="N", help=f"0 for any (default: {DEFAULT_PORT})")
    parser.add_argument("--print-env", action="store_true", help="print the variables by which clients find it")
    parser.add_argument("--durable", action="store_true", help="lose nothing in a power cut either; slower")
    return run_job(parser, _work, argv)


def _work(arguments: Namespace, run_id: str) -> Summary | None:
    settings = load_settings_for(arguments)
    from jobs.feature_store import embedded_folder
    from stores.embedded.endpoint import DEFAULT_ACCOUNT, DEFAULT_REGION
    from stores.embedded.local import find_running
    from stores.embedded.server import serve

    data = arguments.data or embedded_folder(settings.lake)

    def announce(info: ServerInfo) -> None:
        _announce(info, print_env=arguments.print_env)
        sys.stderr.write("Ctrl-C stops it.\n")

    running = find_running(data)
    if running is not None:
        sys.stderr.write(f"It runs already, as process {running.pid}.\n")
        _announce(running, print_env=arguments.print_env)
        return None
    serve(
        data,
        port=arguments.port,
        region=settings.offline_store.region or DEFAULT_REGION,
        account=settings.offline_store.account or DEFAULT_ACCOUNT,
        durable=arguments.durable,
        when_ready=announce,
    )
    return None


def _announce(info: ServerInfo, *, print_env: bool) -> None:
    from stores.embedded.local import environment_of

    sys.stderr.write(f"The Feature Store of {info.data} answers at {info.endpoint}.\n")
    if print_env:
        for name, value in environment_of(info).items():
            sys.stdout.write(f"export {name}={value}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
