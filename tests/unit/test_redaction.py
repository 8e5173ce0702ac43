"""What a target says never holds the value of a secret, in whichever form and however it is cut."""

from __future__ import annotations

import base64
import html
import json
import random
from urllib.parse import quote, quote_plus

import pytest

from backend.model.secret import Secret, references_of, revealed, values
from backend.targets.output import KEPT_BYTES, Output, first_line
from backend.targets.output import quote as quoted
from backend.targets.redaction import Redaction, redacting

VALUE = 'pa/ss+wörd "ß" 7f3a&<9>'
SECRETS = {"token": Secret("token", VALUE)}
MARK = "[secret token]"

FORMS = {
    "itself": VALUE,
    "JSON": json.dumps(VALUE)[1:-1],
    "JSON with letters": json.dumps(VALUE, ensure_ascii=False)[1:-1],
    "JSON in JSON": json.dumps(json.dumps(VALUE))[3:-3],
    "repr": repr(VALUE)[1:-1],
    "percent": quote(VALUE, safe=""),
    "percent, small digits": quote(VALUE, safe="").replace("%2F", "%2f").replace("%C3", "%c3").replace("%B6", "%b6"),
    "form": quote_plus(VALUE),
    "HTML": html.escape(VALUE),
    "hex": VALUE.encode().hex(),
    "base64": base64.b64encode(VALUE.encode()).decode(),
    "base64 for URLs": base64.urlsafe_b64encode(VALUE.encode()).decode().rstrip("="),
    "basic authentication": base64.b64encode(f"user:{VALUE}".encode()).decode(),
    "basic authentication of another user": base64.b64encode(f"me:{VALUE}".encode()).decode(),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_of_a_value_is_taken_out_of_what_is_kept_and_quoted(form: str) -> None:
    with redacting(SECRETS):
        output = Output()
        output.add(f"before {form} after\n".encode())
        assert form[6:-6] not in output.text()[0]
        assert MARK in output.text()[0]
        assert output.text()[0].startswith("before ")
        assert form[6:-6] not in output.last_line()
        assert form[6:-6] not in quoted(f"before {form} after")


def test_a_value_that_arrives_in_pieces_is_taken_out_wherever_it_is_divided() -> None:
    text = f"x{VALUE}y{VALUE}z".encode()
    with redacting(SECRETS):
        for size in (1, 2, 3, 7, 50):
            output = Output()
            for start in range(0, len(text), size):
                output.add(text[start : start + size])
            assert output.text() == (f"x{MARK}y{MARK}z", False)


def test_a_value_is_taken_out_where_the_output_or_the_error_is_cut() -> None:
    with redacting(SECRETS):
        for before in range(KEPT_BYTES - 40, KEPT_BYTES + 2):
            output = Output()
            output.add(b"a" * before + VALUE.encode() + b"b" * 3000)
            text, truncated = output.text()
            assert truncated
            assert VALUE[:4] not in text
            assert VALUE[-4:] not in output.last_line()
        for before in range(150, 200):
            assert VALUE[:4] not in first_line("a" * before + VALUE)
        ended = Output()
        ended.add(b"broken off: " + VALUE.encode()[:-3])
        assert ended.text()[0] == "broken off: "


def test_a_word_of_a_value_and_the_bytes_of_a_signing_key_are_taken_out_too() -> None:
    secrets = {
        "auth": Secret("auth", "Bearer 4f1c9e77aa"),
        "pem": Secret("pem", "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\n-----END KEY-----\n"),
        "hook": Secret("hook", "whsec_MDEyMzQ1Njc4OWFiY2RlZg=="),
    }
    with redacting(secrets):
        assert quoted("token 4f1c9e77aa was refused") == "token [secret auth] was refused"
        assert quoted("in line 2: MIIEvQIBADANBgkq") == "in line 2: [secret pem]"
        assert quoted("key MDEyMzQ1Njc4OWFiY2RlZg==") == "key [secret hook]"


def test_what_is_too_short_to_be_told_apart_stays() -> None:
    with redacting({"pin": Secret("pin", "123")}):
        assert quoted("123 items") == "123 items"


def test_nothing_changes_without_secrets_and_after_the_attempt() -> None:
    with redacting(SECRETS):
        pass
    assert quoted(VALUE) == VALUE
    assert not Redaction()


def test_random_texts_keep_all_but_the_value() -> None:
    luck = random.Random(7)
    value = "Zq9-" + "".join(luck.choices("abcXYZ019", k=20))
    for _ in range(200):
        pieces = ["".join(luck.choices("lmno \n", k=luck.randrange(30))) for _ in range(5)]
        text = value.join(pieces).encode()
        with redacting({"token": Secret("token", value)}):
            output = Output()
            while text:
                size = luck.randrange(1, 40)
                output.add(text[:size])
                text = text[size:]
            assert output.text()[0] == MARK.join(pieces)


def test_a_secret_shows_itself_to_nobody() -> None:
    secret = SECRETS["token"]
    shown = f"{secret} {secret!r} {[secret]} {SECRETS}"
    assert VALUE not in shown
    assert MARK in shown
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(TypeError, match="not copied"):
        __import__("pickle").dumps(secret)


def test_only_an_object_with_a_text_called_secret_and_nothing_else_is_a_reference() -> None:
    target = {
        "headers": {"secret": "plain", "X-Key": {"secret": "token"}},
        "body": [{"secret": "token", "user": "x"}, {"secret": 5}, {"deep": {"secret": "token"}}],
        "signing_secret": [{"secret": "token"}],
        "url": "https://example.org",
    }
    places = ["target.headers.X-Key", "target.body[2].deep", "target.signing_secret[0]"]
    assert list(references_of(target)) == [(place, "token") for place in places]
    body = [{"secret": "token", "user": "x"}, {"secret": 5}, {"deep": VALUE}]
    assert revealed(target["body"], SECRETS) == body
    assert values({"secret": "plain", "A": {"secret": "token"}}, SECRETS) == {"secret": "plain", "A": VALUE}
