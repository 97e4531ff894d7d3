"""Make a sample: block by block, so that memory doesn't depend on how many customers there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path

from conf.errors import InputError, UsageError
from synthetic.accounts import account_versions, open_accounts
from synthetic.bnpl import make_plans
from synthetic.columns import Columns, concat, row_count, take
from synthetic.customers import make_customers
from synthetic.dirt import soil
from synthetic.files import MOST_ROWS, SourceFiles, only, remove_files
from synthetic.ground_truth import SourceTruth, count_kept, is_unchanged, read_truth, truth_path, write_truth
from synthetic.layout import LAYOUTS
from synthetic.parameters import BLOCK, Parameters
from synthetic.statements import make_account_months

Progress = Callable[[int, int], None]
"""Told after each block: customers and rows so far."""


def make_sample(
    parameters: Parameters, to: Path, progress: Progress = lambda customers, rows: None, most_rows: int = MOST_ROWS
) -> bool:
    """Write the files and their ground truth to a folder; return False when it holds this very sample already.

    Files of an earlier sample are removed, unless only what is delivered from a day on is written, beside what is there.
    Raises: UsageError when `only_from` doesn't follow on what is there; InputError when the folder can't be written.
    """
    try:
        to.mkdir(parents=True, exist_ok=True)
        if is_unchanged(to, parameters):
            return False
        if parameters.only_from is None:
            for path in to.glob("ground_truth*.json"):
                path.unlink()
            remove_files(to)
        _write(parameters, to, progress, most_rows)
    except OSError as problem:
        where = problem.filename or to
        raise InputError(
            f"{where}: {problem.strerror or problem}; give a folder that can be written, with room for the sample"
        ) from problem
    return True


def growth_of(to: Path, asked: Parameters) -> Parameters:
    """The parameters of what is added from `only_from` on to the sample in a folder: its customers, seed and first day.

    Without a sample there, as asked. Raises: UsageError when the day doesn't follow on the last one that is there.
    """
    base = read_truth(to / "ground_truth.json")
    if base is None or asked.only_from is None:
        return asked
    told = base["parameters"]
    grown = replace(
        asked, customers=told["customers"], years=told["years"], seed=told["seed"], since=date.fromisoformat(told["since"])
    )
    if read_truth(truth_path(to, grown)) is not None:
        return grown  # made before: unchanged, or made again
    ends = [path for path in to.glob("ground_truth*.json") if path != truth_path(to, grown)]
    last = max(date.fromisoformat((read_truth(path) or base)["parameters"]["until"]) for path in ends)
    if asked.only_from.toordinal() != last.toordinal() + 1:
        following = date.fromordinal(last.toordinal() + 1)
        raise UsageError(
            f"--only-from {asked.only_from}: the sample in {to} ends on {last}, so that what follows begins on {following}"
        )
    return grown


def make_block(block: int, parameters: Parameters) -> dict[str, Columns]:
    """All rows of a block, dirt included, in the order of delivery; of its customers within the sample, up to its end.

    What a block holds depends on the seed, the first day and its number, not on how many customers or days follow.
    """
    people, profiles, consents = make_customers(block, parameters)
    accounts, applications, by_month = open_accounts(block, people, parameters)
    of_plans = make_plans(block, people, parameters)
    of_accounts = make_account_months(block, accounts, by_month, parameters)
    clean = {
        "customers": profiles,
        "consents": consents,
        "accounts": account_versions(accounts),
        "applications": applications,
        **{name: of_plans[name] for name in ("bnpl_plans", "bnpl_limits")},
        **{name: of_accounts[name] for name in ("statements", "balances", "transactions", "conduct")},
        **{name: concat([of_plans[name], of_accounts[name]]) for name in ("instalments", "payments", "fees")},
    }
    owners = min(BLOCK, parameters.customers - block * BLOCK)
    return {name: only(soil(name, clean[name], block, parameters.start), owners, parameters) for name in LAYOUTS}


def _write(parameters: Parameters, to: Path, progress: Progress, most_rows: int) -> None:
    truth: Mapping[str, SourceTruth] = {name: SourceTruth() for name in LAYOUTS}
    files = {name: SourceFiles(to, layout, parameters, most_rows) for name, layout in LAYOUTS.items()}
    try:
        written = 0
        for block in range(parameters.blocks):
            rows = make_block(block, parameters)
            count_kept(truth, rows, parameters.written_from)
            for name, columns in rows.items():
                new = take(columns, columns["_delivered"] >= parameters.written_from)
                files[name].write(new)
                written += row_count(new)
            progress(min((block + 1) * BLOCK, parameters.customers), written)
        for name, source in files.items():
            source.finish()
            truth[name].add_files(source.counts)
    finally:
        for source in files.values():
            source.abandon()
    write_truth(to, parameters, truth)
