"""Our routes ask for the logins that the host asks for: --api-auth, or that of its page."""
from __future__ import annotations

import base64
import sys
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from tests.test_masks import encoded

ROOT = Path(__file__).parent.parent
OPEN = {200, 404, 422}


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
                                       ("POST", "preview", {"json": {}}), ("PUT", "assets", {"content": b"no image"}),
                                       ("POST", "read", {"content": b"no plan"}),
                                       ("GET", "presets", {}), ("GET", "presets/con", {}), ("PUT", "presets/con", {"json": {}}),
                                       ("PATCH", "presets/con", {"json": {}}), ("DELETE", "presets/con", {}),
                                       ("POST", "train/look", {"json": {}}), ("POST", "train/start", {"json": {"config": {}}}),
                                       ("POST", "train/pause", {"json": {}}), ("POST", "train/stop", {"json": {}}), ("GET", "train/status", {}),
                                       ("DELETE", "train/none", {}), ("GET", "train/none/none.000000.png", {}))}


def test_without_a_login_all_is_open(client):
    assert statuses(client()) == OPEN


@pytest.mark.parametrize("auth", [("a", "b"), ("c", "d")])
def test_the_accounts_of_the_api(client, auth):
    assert statuses(client("a:b,c:d"), auth=auth) == OPEN


@pytest.mark.parametrize("login", [{}, {"auth": ("a", "d")}, {"auth": ("a", "")}, {"auth": ("", "")}, {"cookies": {"access-token": "t"}}])
def test_others_are_kept_out(client, login):
    assert statuses(client("a:b,c:d"), **login) == {401}


def test_the_pages_login(client):
    page = client(tokens={"t": "painter"})
    assert statuses(page) == statuses(page, auth=("painter", "word")) == {401}
    assert statuses(client(tokens={"t": "painter"}), cookies={"access-token": "t"}) == OPEN
    assert statuses(client("a:b", tokens={"t": "painter"}), cookies={"access-token": "wrong"}) == {401}
    assert statuses(client("a:b", tokens={"t": "painter"}), auth=("a", "b")) == OPEN


def test_a_stored_image_is_shown_to_those_who_are_in(client, monkeypatch, tmp_path):
    from modules import shared

    from lib_mixdiff import assets
    monkeypatch.setattr(shared, "data_path", str(tmp_path))
    data = base64.b64decode(encoded(Image.new("L", (8, 8))))
    digest = assets.store(tmp_path / "mixdiff" / "assets", data)[0].partition(":")[2]
    (tmp_path / "mixdiff" / "secret").write_text("secret")
    page, others = client("a:b"), client("a:b")
    answer = page.get(f"/mixdiff/v1/assets/{digest}", auth=("a", "b"))
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, data, "image/png")
    assert others.get(f"/mixdiff/v1/assets/{digest}").status_code == 401
    for name in ("0" * 64, "..%2Fsecret", "%2E%2E%2Fsecret", "../secret", digest + "%00", digest[:-1], "%2Fetc%2Fpasswd", digest + "%0A"):
        assert page.get(f"/mixdiff/v1/assets/{name}", auth=("a", "b")).status_code in (404, 405), name
