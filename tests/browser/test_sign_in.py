"""The whole way through a sign-in: the app, a browser, and a small OpenID Connect provider on this machine."""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from playwright.sync_api import Page, expect

from tests.browser.app_server import free_port, running_app
from tests.browser.pages import wait_until_idle

pytestmark = pytest.mark.browser
KEY = RSAKey.generate_key(2048, parameters={"kid": "the only one", "use": "sig"})
VISITOR = "**Ada** Example"


class Provider(BaseHTTPRequestHandler):
    """Lets everyone in as `VISITOR`, by OpenID Connect Core 1.0, section 3.1 (authorization code flow)."""

    codes: ClassVar[dict[str, dict[str, str]]] = {}

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        if address.path == "/.well-known/openid-configuration":
            self._send(_discovery(self._own()))
        elif address.path == "/keys":
            self._send({"keys": [KEY.as_dict(private=False)]})
        elif address.path == "/authorize":
            asked = {name: values[0] for name, values in parse_qs(address.query).items()}
            code = secrets.token_urlsafe()
            self.codes[code] = asked
            self.send_response(302)
            self.send_header(
                "Location", f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"
            )
            self.end_headers()
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        asked = self.codes.pop(form["code"][0])
        if "code_challenge" in asked:  # RFC 7636, section 4.6
            hashed = hashlib.sha256(form["code_verifier"][0].encode()).digest()
            assert base64.urlsafe_b64encode(hashed).rstrip(b"=").decode() == asked["code_challenge"]
        now = int(time.time())
        claims = {
            **{"iss": self._own(), "sub": "1", "aud": asked["client_id"], "exp": now + 300, "iat": now},
            **{"nonce": asked.get("nonce"), "name": VISITOR},
        }
        token = jwt.encode({"alg": "RS256", "kid": "the only one"}, claims, KEY)
        self._send({"access_token": "for nothing", "token_type": "Bearer", "expires_in": 300, "id_token": token})

    def log_message(self, *_arguments: object) -> None:
        """Stay silent."""

    def _own(self) -> str:
        return f"http://{self.headers['Host']}"

    def _send(self, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _discovery(issuer: str) -> dict[str, Any]:
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "jwks_uri": f"{issuer}/keys",
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def address(provider: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("app"), free_port()
    written = folder / "secrets.toml"
    written.write_text(
        "[auth]\n"
        f'redirect_uri = "http://127.0.0.1:{port}/oauth2callback"\n'
        f'cookie_secret = "{secrets.token_hex(32)}"\n'
        'client_id = "reader"\n'
        'client_secret = "known to both"\n'
        f'server_metadata_url = "{provider}/.well-known/openid-configuration"\n'
    )
    with running_app(folder / "app.log", port=port, STREAMLIT_SECRETS_FILES=str(written)) as address:
        yield address


@pytest.mark.parametrize("path", ["", "Predict", "Dataset", "Model_report", "Predict?model=mobilenetv2"])
def test_a_page_that_is_opened_by_its_address_shows_nothing_before_the_sign_in(
    address: str, page: Page, path: str
) -> None:
    page.goto(f"{address}/{path}")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    wait_until_idle(page)
    expect(page.locator("input[type=file]")).to_have_count(0)
    expect(page.get_by_text("Model in use")).to_have_count(0)


@pytest.mark.smoke
def test_who_signs_in_may_read_images_until_the_sign_out(address: str, page: Page) -> None:
    page.goto(f"{address}/Predict")
    page.get_by_role("button", name="Sign in").click()
    # Streamlit comes back to the front page; the name stands there as plain text, stars and all.
    expect(page.get_by_text(VISITOR, exact=True)).to_be_visible()
    page.goto(f"{address}/Predict")
    expect(page.locator("input[type=file]")).to_have_count(1)
    page.goto(f"{address}/Model_report")
    expect(page.get_by_role("heading", name="Model report")).to_be_visible()
    wait_until_idle(page)
    # The page turns at once; the cookie goes with a visit to the sign-out address, which leads back to the front page.
    with page.expect_response(lambda response: response.url.rstrip("/") == address):
        page.get_by_role("button", name="Sign out").click()
    page.wait_for_load_state()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto(f"{address}/Predict")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    wait_until_idle(page)
    expect(page.locator("input[type=file]")).to_have_count(0)
