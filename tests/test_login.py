"""Our routes ask for the logins that the host asks for: --api-auth, or that of its page."""
from __future__ import annotations

import sys
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

ROOT = Path(__file__).parent.parent


@pytest.fixture
def client(monkeypatch):
    """With the accounts of --api-auth, and the tokens of those who are logged in on the page."""
    if str(ROOT / "minihost") not in sys.path:
        sys.path.append(str(ROOT / "minihost"))
    from modules import shared

    from lib_mixdiff.host.routes import add_routes

    def client(api_auth=None, tokens=None):
        monkeypatch.setattr(shared.cmd_opts, "api_auth", api_auth)
        app = FastAPI()
        if tokens is not None:
            app.auth, app.tokens = {"painter": "word"}, tokens      # as gradio's App
        add_routes(app)
        return TestClient(app)
    return client


def statuses(client, **login) -> set[int]:
    return {client.request(method, f"/mixdiff/v1/{name}", **body, **login).status_code
            for method, name, body in (("GET", "schema", {}), ("GET", "version", {}), ("POST", "check", {"json": {}}),
                                       ("PUT", "assets", {"content": b"no image"}), ("POST", "read", {"content": b"no plan"}),
                                       ("GET", "presets", {}), ("GET", "presets/con", {}), ("PUT", "presets/con", {"json": {}}),
                                       ("PATCH", "presets/con", {"json": {}}), ("DELETE", "presets/con", {}))}


def test_without_a_login_all_is_open(client):
    assert statuses(client()) == {200, 422}


@pytest.mark.parametrize("auth", [("a", "b"), ("c", "d")])
def test_the_accounts_of_the_api(client, auth):
    assert statuses(client("a:b,c:d"), auth=auth) == {200, 422}


@pytest.mark.parametrize("login", [{}, {"auth": ("a", "d")}, {"auth": ("a", "")}, {"auth": ("", "")}, {"cookies": {"access-token": "t"}}])
def test_others_are_kept_out(client, login):
    assert statuses(client("a:b,c:d"), **login) == {401}


def test_the_pages_login(client):
    page = client(tokens={"t": "painter"})
    assert statuses(page) == statuses(page, auth=("painter", "word")) == {401}
    assert statuses(client(tokens={"t": "painter"}), cookies={"access-token": "t"}) == {200, 422}
    assert statuses(client("a:b", tokens={"t": "painter"}), cookies={"access-token": "wrong"}) == {401}
    assert statuses(client("a:b", tokens={"t": "painter"}), auth=("a", "b")) == {200, 422}
