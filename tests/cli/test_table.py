"""What a table shows of what others have named."""

import pytest

from cli.table import name, show, text, visible


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("plain, é, 日本, 👩\u200d👩\u200d👧", "plain, é, 日本, 👩\u200d👩\u200d👧"),
        ("two\nlines", "two\nlines"),
        ("\x1b]0;pwned\x07", r"\x1b]0;pwned\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("back\r\x08", r"back\r\x08"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("half \ud83d", r"half \ud83d"),
    ],
)
def test_what_steers_a_terminal_is_written_out(said: str, shown: str):
    assert visible(said) == shown


def test_a_table_of_others_names_has_no_escape(capsys: pytest.CaptureFixture[str]):
    show([name("id"), text("user")], [{"id": "a", "user": "\x1b[2Jgone"}], [], as_json=False)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert r"\x1b[2Jgone" in out
