"""The questions of the study, as cases.yaml tells them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Case:
    """One question: which data, which training set, and where time is cut.

    `data` is the data set's folder, `files` those in it with the SHA-256 of their content, unpacked. `labels` is SQL that makes
    the labels file of them, `{file}` being a path; without it the definition has a spine. `as_of` is the newest day of the data:
    a naive join takes its features of it. A label is trained on when its time is before `train_until`, and tested on from
    `test_from` on. `told` and `cut` are for the page: what is asked, and why time is cut there.
    """

    name: str
    title: str
    example: str
    data: str
    files: Mapping[str, str]
    group: str
    entity: str
    target: str
    train_until: str
    test_from: str
    as_of: str
    told: str
    cut: str
    labels: str | None = None


def read_cases() -> list[Case]:
    text = Path(__file__).with_name("cases.yaml").read_text(encoding="utf-8")
    return [Case(**told) for told in yaml.safe_load(text)["cases"]]
