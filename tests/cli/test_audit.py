"""`penstock audit`, as a shell calls it."""

from __future__ import annotations

import json
import stat

import pytest

from gateway.cli import main
from gateway.cli.output import moment
from gateway.control.audit import Audit
from gateway.control.store import Store
from gateway.control.verification import verify
from tests.control.auditing import ANN, fill, tamper


@pytest.fixture
def penstock(home, capsys):
    """Runs one command on the home; gives exit status, stdout and stderr."""

    def run(*words):
        status = main([*map(str, words), "--home", str(home)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_list_is_a_table_of_the_newest(penstock, home):
    fill(home)
    status, out, _ = penstock("audit", "list", "--limit", "2")
    rows = [line.split() for line in out.splitlines()]
    header = ["ID", "TIME", "WHO", "DOOR", "ACTION", "SUBJECT", "FROM", "CHANGE"]
    assert (status, rows[0]) == (0, header)
    assert [(row[0], row[3], row[6]) for row in rows[1:]] == [
        ("4", "ann", "m/4"),
        ("5", "ann", "m/5"),
    ]
    assert len(json.loads(penstock("audit", "list", "--json")[1])) == 5


HASH = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        pytest.param({"version": 1}, {"version": 2}, "version 1 -> 2", id="changed"),
        pytest.param(None, {"role": "client", "m": ["a"]}, 'm ["a"], role client', id="new"),
        pytest.param({"version": 1}, None, "version 1 -> nothing", id="gone"),
        pytest.param({"a": 1, "b": 2}, {"a": 1, "b": None}, "b 2 -> none", id="in-part"),
        pytest.param(None, {"sha256": HASH}, "sha256 0123456789abcdef012345...", id="long-value"),
        pytest.param({"x": "a\nb"}, {"x": "c\x1b[1m"}, "x a?b -> c?[1m", id="unprintable"),
        pytest.param(
            {"expires_at": None},
            {"expires_at": 0.5},
            f"expires_at none -> {moment(0.5)}",
            id="time",
        ),
        pytest.param(None, None, "", id="nothing"),
    ],
)
def test_list_tells_what_changed(penstock, home, before, after, told):
    with Store.open(home) as store:
        Audit(store).note(ANN, "test", "s", before, after)
    _, line = penstock("audit", "list")[1].splitlines()
    assert line.endswith(f"  {ANN.origin}  {told}".rstrip())


def test_list_moves_nothing_on_the_terminal_whatever_an_entry_holds(penstock, home):
    fill(home, 2)
    rewritten = "who = 'a' || char(27) || '[2K' || char(10) || char(155) || 'b'"
    tamper(home, f"UPDATE audit SET {rewritten} WHERE id = 2")
    told = penstock("audit", "list")[1]
    assert "a?[2K??b" in told.splitlines()[2]
    assert told.replace("\n", "").isprintable()


def test_what_changed_takes_one_line_however_much_it_is(penstock, home):
    with Store.open(home) as store:
        Audit(store).note(ANN, "test", "s", None, {f"name{n}": n for n in range(100)})
    lines = penstock("audit", "list")[1].splitlines()
    told = lines[1][lines[0].index("CHANGE") :]
    assert (len(lines), len(told), told[:7], told[-3:]) == (2, 80, "name0 0", "...")


def test_export_writes_a_line_an_entry(penstock, home):
    fill(home)
    found = lines(penstock("audit", "export")[1])
    assert [line["id"] for line in found] == [1, 2, 3, 4, 5]
    assert found[0]["after"] == {"number": 1, "text": "ü"}


@pytest.mark.parametrize(
    ("since", "ids"),
    [
        pytest.param("3", [4, 5], id="after-an-id"),
        pytest.param("1970-01-01T00:16:44+00:00", [4, 5], id="from-a-time"),
        pytest.param("99", [], id="nothing-yet"),
    ],
)
def test_export_goes_on_from_an_id_or_a_time(penstock, home, since, ids):
    fill(home)
    found = lines(penstock("audit", "export", "--since", since)[1])
    assert [line["id"] for line in found] == ids


def test_export_to_a_file_is_the_owners_alone(penstock, home, tmp_path):
    fill(home)
    file = tmp_path / "audit.ndjson"
    assert penstock("audit", "export", "--out", file)[:2] == (0, f"{file}: 5 entries\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(lines(file.read_text())) == 5
    told = json.loads(penstock("audit", "export", "--out", file, "--json")[1])
    assert told == {"file": str(file), "entries": 5}


def test_a_file_that_cannot_be_written_is_status_1(penstock, home, tmp_path):
    fill(home)
    status, _, err = penstock("audit", "export", "--out", tmp_path / "none" / "x")
    assert (status, "No such file" in err) == (1, True)


def test_verify_tells_what_it_proved(penstock, home):
    fill(home)
    with Store.open(home) as store:
        head = verify(store).head
    status, out, _ = penstock("audit", "verify")
    assert status == 0
    assert out.startswith("5 entries from ")
    assert f"head {head}\nnothing was changed or removed\n" in out
    told = json.loads(penstock("audit", "verify", "--head", head, "--json")[1])
    assert (told["ok"], told["entries"], told["head"]) == (True, 5, head)
    assert (told["first"], told["last"]) == (1001.0, 1005.0)


def test_verify_names_the_entry_that_was_tampered_with_and_is_status_1(penstock, home):
    fill(home)
    tamper(home, "UPDATE audit SET who = 'bob' WHERE id = 2")
    status, out, _ = penstock("audit", "verify")
    assert status == 1
    assert "entry 2: its hash does not follow" in out
    status, out, _ = penstock("audit", "verify", "--json")
    assert (status, json.loads(out)["ok"]) == (1, False)


def test_what_was_tampered_with_is_shown_all_the_same(penstock, home):
    fill(home)
    tamper(home, "UPDATE audit SET after = '{' WHERE id = 2")
    assert lines(penstock("audit", "export")[1])[1]["after"] == "{"


@pytest.mark.parametrize(
    "change",
    [
        "at = 'x'",
        "at = x'ff'",
        "at = 9e999",
        "at = 1e300",
        "at = -1e300",
        "who = x'ff'",
        "at = CAST(x'ff' AS TEXT)",
        "who = CAST(x'ff' AS TEXT)",
        "after = CAST(x'ff' AS TEXT)",
    ],
)
def test_an_entry_that_holds_what_none_has_hides_no_other(penstock, home, change):
    fill(home)
    tamper(home, f"UPDATE audit SET {change} WHERE id = 2")
    status, out, err = penstock("audit", "list")
    assert len(out.splitlines()) == 6
    told = "entry 2: " in err
    assert status == (1 if told else 0)
    assert told == ("1e300" not in change)  # a time, of no year that has a name
    shown = json.loads(penstock("audit", "list", "--json")[1])
    assert ["fault" in entry for entry in shown] == [False, told, False, False, False]
    assert len(lines(penstock("audit", "export")[1])) == 5
    status, out, _ = penstock("audit", "verify")
    assert (status, "entry 2: " in out) == (1, True)


def test_export_writes_an_entry_that_holds_what_none_has_and_is_status_1(penstock, home):
    fill(home)
    tamper(home, "UPDATE audit SET at = 'x' WHERE id = 2")
    status, out, err = penstock("audit", "export")
    assert (status, err.count("entry 2: at holds no time")) == (1, 1)
    assert [line["at"] for line in lines(out)] == [1001.0, "x", 1003.0, 1004.0, 1005.0]


def test_a_head_that_no_entry_has_is_status_1(penstock, home):
    fill(home)
    status, out, _ = penstock("audit", "verify", "--head", "f" * 64)
    assert (status, "no entry has the noted hash" in out) == (1, True)


@pytest.mark.parametrize("action", ["list", "export", "verify"])
def test_a_home_without_changes_is_status_1_and_stays_unmade(penstock, tmp_path, action, capsys):
    home = tmp_path / "none"
    assert main(["audit", action, "--home", str(home)]) == 1
    assert "nothing was ever changed" in capsys.readouterr().err
    assert not home.exists()


@pytest.mark.parametrize(
    "words", [("audit",), ("audit", "export", "--since", "yesterday"), ("audit", "list", "-x")]
)
def test_wrong_usage_is_exit_status_2(penstock, words):
    assert penstock(*words)[0] == 2
