"""`etr features`: what is listed, in which form, and what a change of the definitions changes; without Spark."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conf.catalogue import load_catalogue
from jobs import features
from jobs.features import table_lines
from tests.transforms.test_meaning import GROUP, SOURCE
from tests.transforms.test_meaning import features as described

KEYS = ["group", "name", "type", "description", "window", "null_rule", "owner", "version", "inputs", "online", "scoring"]


def folder(path: Path, group: str = GROUP, source: str = SOURCE) -> Path:
    for name, text in (("sources/orders.yaml", source), ("feature_groups/g.yaml", group)):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str], dict, str]:
    """Exit code, lines before the summary, the summary, stderr."""
    code = features.main(arguments)
    out, err = capsys.readouterr()
    *lines, last = out.splitlines()
    return code, lines, json.loads(last), err


def test_a_list_for_scripts(tmp_path, capsys):
    code, lines, summary, _ = run(capsys, "--conf", str(folder(tmp_path)), "--format", "json")
    assert (code, lines, summary["status"], summary["counts"]) == (0, [], "succeeded", {"groups": 1, "features": 10})
    assert summary["features"] == [feature.as_json() for feature in described()]
    assert [list(feature) for feature in summary["features"]] == [KEYS] * 10


def test_a_table_for_a_terminal(tmp_path):
    """A line a column, what it is below; nothing wider than the terminal."""
    catalogue = load_catalogue(folder(tmp_path, GROUP.replace("owner: risk", "owner: risk\ndescription: Orders.")))
    chosen = [feature for feature in described() if feature.name in ("order_count_shop_a_7d", "open_count")]
    lines = list(table_lines(catalogue, chosen, 80))
    assert lines == [
        "g: Orders.",
        "  one row a customer_id, daily; owner risk; 2 columns",
        "",
        "  NAME                   TYPE     WINDOW  ONLINE   SCORING    VERSION",
        f"  order_count_shop_a_7d  integer  7d      online   allowed    {chosen[0].version}",
        f"      {chosen[0].description}",
        "      never null; 0 of no facts; from orders",
        f"  open_count             integer  -       offline  forbidden  {chosen[1].version}",
        *(f"      {part}" for part in _halves(chosen[1].description)),
        "      never null; 0 of no facts; from orders",
        "",
    ]
    assert max(map(len, lines)) <= 80


def _halves(text: str) -> list[str]:
    """As it is wrapped where the first line has 74 characters."""
    if len(text) <= 74:
        return [text]
    end = text.rindex(" ", 0, 75)
    return [text[:end], text[end + 1 :]]


def test_only_what_is_asked_for(tmp_path, capsys):
    conf = ["--conf", str(folder(tmp_path))]
    _, _, summary, _ = run(capsys, *conf, "g", "--name", "*_30d", "--format", "json")
    assert [feature["name"] for feature in summary["features"]] == [
        "order_count_30d",
        "order_count_shop_a_30d",
        "order_count_shop_other_30d",
    ]
    code, _, _, err = run(capsys, *conf, "h")
    assert (code, err) == (2, "no feature group named 'h'; known: g\n")


def test_what_changed_since_definitions_and_since_a_list(tmp_path, capsys):
    old = folder(tmp_path / "old")
    new = folder(
        tmp_path / "new",
        GROUP.replace("of: paid,", "of: paid * 2,").replace("{name: age, op: age}", "{name: shop, op: last, of: shop}"),
    )
    assert features.main(["--conf", str(old), "--format", "json"]) == 0
    listed = tmp_path / "old.json"
    listed.write_text(capsys.readouterr().out)
    for before in (old, listed):
        code, lines, summary, _ = run(capsys, "--conf", str(new), "--diff", str(before))
        assert (code, summary["status"]) == (0, "succeeded")
        assert {kind: [item["name"] for item in items] for kind, items in summary["diff"].items()} == {
            "new": ["shop"],
            "gone": ["age"],
            "changed_type": [],
            "changed_meaning": ["paid_sum_7d_lag30d"],
            "renamed": [],
        }
        assert [line.split(":")[0] for line in lines if not line.startswith("   ")] == [
            "new      g.shop (string)",
            "gone     g.age (integer)",
            "changed  g.paid_sum_7d_lag30d",
        ]
    _, lines, summary, _ = run(capsys, "--conf", str(new), "--diff", str(new))
    assert lines == ["no column is new, gone or changed in meaning"]
    _, lines, summary, _ = run(capsys, "--conf", str(new), "--diff", str(old), "--name", "order_*", "--format", "json")
    assert lines == []
    assert not any(summary["diff"].values())


def test_a_difference_that_only_the_meaning_shows(tmp_path, capsys):
    """A source's grace changes every number and no word."""
    old = folder(tmp_path / "old")
    new = folder(tmp_path / "new", source=SOURCE.replace("key: [order_id]", "key: [order_id]\ngrace: 2h"))
    _, lines, summary, _ = run(capsys, "--conf", str(new), "--diff", str(old), "--name", "age")
    [change] = summary["diff"]["changed_meaning"]
    assert lines == [
        "changed  g.age",
        f"           was  version {change['was']}",
        f"           is   version {change['is']}, by what it is made from",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "--diff {}: no such file or folder; name definitions, or what --format json wrote"),
        ("{}", "--diff {}: not what etr features --format json writes, nor a folder of definitions"),
        ('{"features": [{"name": "x"}]}', "--diff {}: not what etr features --format json writes, nor a folder of definitions"),
        ("", "--diff {}: not what etr features --format json writes, nor a folder of definitions"),
    ],
)
def test_a_wrong_old_state(tmp_path, capsys, content, message):
    old = tmp_path / "old.json"
    if content is not None:
        old.write_text(content)
    code, _, summary, err = run(capsys, "--conf", str(folder(tmp_path / "conf")), "--diff", str(old))
    assert (code, summary["status"], err) == (2, "failed", message.format(old) + "\n")


def test_the_catalogue_page_is_that_of_the_definitions(capsys):
    """docs/catalogue.md has a row for each published column, with its formula."""
    assert features.main(["--format", "markdown"]) == 0
    page = capsys.readouterr().out
    shipped = Path(__file__).parents[2] / "docs" / "catalogue.md"
    assert shipped.read_text(encoding="utf-8") == page, "docs/catalogue.md is stale; run make docs"
    assert features.main(["--format", "json"]) == 0
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)] for line in page.splitlines() if line.startswith("| `")]
    rows = {row[1].strip("`"): row[4] for row in cells if len(row) == 7}
    for feature in json.loads(capsys.readouterr().out)["features"]:
        assert rows[feature["name"]], f"{feature['name']} has no formula"


def test_no_spark_is_loaded():
    script = "import sys; from jobs import features; features.main(['--format', 'json']); sys.exit('pyspark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode == 0
