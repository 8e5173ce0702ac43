"""Encryption of secrets: what is stored says nothing, fits its row alone, and outlives a change of keys."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest

from backend.cli.main import run
from backend.errors import ConfigurationError, Conflict
from backend.settings import load_settings
from backend.store.keyring import KeyRing, Unreadable, make_key

OLD, NEW = ("2025", b"o" * 32), ("2026", b"n" * 32)
VALUE = "correct horse battery staple"


def test_a_value_comes_back_and_is_not_in_what_is_stored() -> None:
    ring = KeyRing([OLD])
    sealed = ring.seal(VALUE, "default", "token")
    assert VALUE.encode() not in b64decode(sealed)
    assert sealed != ring.seal(VALUE, "default", "token")
    assert ring.open(sealed, "default", "token").reveal() == VALUE
    assert "o" * 8 not in repr(ring)


def test_the_first_key_writes_and_every_key_reads() -> None:
    sealed = KeyRing([OLD]).seal(VALUE, "default", "token")
    both = KeyRing([NEW, OLD])
    assert both.open(sealed, "default", "token").reveal() == VALUE
    anew = both.resealed(sealed, "default", "token")
    assert KeyRing([NEW]).open(anew, "default", "token").reveal() == VALUE


def test_a_key_that_is_missing_is_named() -> None:
    sealed = KeyRing([OLD]).seal(VALUE, "default", "token")
    with pytest.raises(Unreadable, match="'token' is encrypted with the key '2025', which SCHEDULER_SECRET_KEYS") as no:
        KeyRing([NEW]).open(sealed, "default", "token")
    assert not no.value.altered
    with pytest.raises(Conflict, match=r"SCHEDULER_SECRET_KEYS.*make-key"):
        KeyRing().seal(VALUE, "default", "token")


@pytest.mark.parametrize(("namespace", "name"), [("other", "token"), ("default", "other")])
def test_a_value_moved_to_another_row_is_noticed(namespace: str, name: str) -> None:
    sealed = KeyRing([OLD]).seal(VALUE, "default", "token")
    with pytest.raises(Unreadable, match="does not decrypt") as altered:
        KeyRing([OLD]).open(sealed, namespace, name)
    assert altered.value.altered


def test_what_was_altered_or_is_no_secret_is_refused() -> None:
    ring = KeyRing([OLD])
    content = bytearray(b64decode(ring.seal(VALUE, "default", "token")))
    for place in range(len(content)):
        content[place] ^= 1
        with pytest.raises(Unreadable):
            ring.open(b64encode(content).decode(), "default", "token")
        content[place] ^= 1
    for text in ("", "no base64!", b64encode(b"\x01").decode(), b64encode(b"\x01\x042025").decode()):
        with pytest.raises(Unreadable):
            ring.open(text, "default", "token")


def test_the_setting_takes_what_make_key_prints_newest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHEDULER_SECRET_KEYS", f"{make_key('b')}, {make_key('a')}")
    settings = load_settings()
    assert [key_id for key_id, _ in settings.secret_keys] == ["b", "a"]
    assert {len(key) for _, key in settings.secret_keys} == {32}
    assert "secret_keys" not in repr(settings)


@pytest.mark.parametrize("text", ["k1", "k1:AAAA", "k1:not base64", f":{'A' * 43}=", f"a b:{'A' * 43}="])
def test_a_key_of_another_form_is_refused_without_showing_it(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHEDULER_SECRET_KEYS", text)
    with pytest.raises(ConfigurationError, match="SCHEDULER_SECRET_KEYS: a key is no id:base64") as refused:
        load_settings()
    assert text not in str(refused.value)


def test_make_key_names_each_key_anew_unless_it_is_told_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["secrets", "make-key"], ["secrets", "make-key"], ["secrets", "make-key", "--id", "2026-12"]):
        assert run(argv) == 0
    ids = [line.partition(":")[0] for line in capsys.readouterr().out.split()]
    assert len(set(ids)) == 3
    assert [len(ids[0]), ids[0][0], ids[2]] == [7, "k", "2026-12"]


def test_two_keys_of_one_id_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHEDULER_SECRET_KEYS", f"{make_key('a')},{make_key('a')}")
    with pytest.raises(ConfigurationError, match="an id stands there twice"):
        load_settings()
