"""What other sites, other names and hostile texts can do: nothing."""

import html.parser

import pytest

from lime_jax.lemons import security
from tests.lemons import serving, tiny_library


@pytest.fixture(scope="module")
def application(tmp_path_factory):
    with serving.tiny_application(tmp_path_factory.mktemp("tiny")) as made:
        yield made


@pytest.fixture(scope="module")
def client(application):
    return serving.client_of(application)


QUESTION = {"persona": "p0", "library": "tiny", "track": "track-0", "type": "time"}


@pytest.mark.parametrize("address", ["/", "/static/app.js", "/api/personas", "/nothing"])
def test_every_response_has_the_security_headers(client, address):
    headers = client.get(address).headers
    policy = dict(
        part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    for kind in ("script-src", "style-src", "media-src", "connect-src"):
        assert policy[kind] == "'self'"
    assert policy["img-src"] == "'self' data:"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


class Inline(html.parser.HTMLParser):
    """Collects what the policy would block, and every address."""

    def __init__(self):
        super().__init__()
        self.blocked, self.addresses = [], []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "style" or (tag == "script" and "src" not in attrs) or tag in ("base", "iframe"):
            self.blocked.append(tag)
        self.blocked += [name for name in attrs if name == "style" or name.startswith("on")]
        self.addresses += [attrs[name] for name in ("src", "href") if name in attrs]


def test_the_page_loads_only_files_of_this_server(client):
    page = Inline()
    page.feed(client.get("/").text)
    assert page.blocked == []
    assert all(address.startswith(("/static/", "#")) for address in page.addresses)
    for address in page.addresses:
        assert address.startswith("#") or client.get(address).status_code == 200


@pytest.mark.parametrize("name", ["app.js", "api.js", "dom.js", "player.js", "views.js"])
def test_scripts_never_turn_text_into_html(client, name):
    script = client.get(f"/static/{name}").text
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert word not in script
    assert "http://www.w3.org/2000/svg" in script or "http" not in script.replace("https", "http")


def test_hostile_names_are_escaped(tmp_path):
    with serving.tiny_application(tmp_path) as made:
        persona = made.audience.personas["p3"]
        made.audience.personas = {
            "p3": type(persona)("p3", tiny_library.HOSTILE, "taste", (), "rule")
        }
        text = serving.client_of(made).get("/").text
    assert tiny_library.HOSTILE not in text and "&lt;img src=x" in text


HOSTS = {
    "localhost:8000": True,
    "LOCALHOST": True,
    "127.0.0.1:9": True,
    "[::1]:8000": True,
    "evil.example": False,
    "localhost.evil.example": False,
    "127.0.0.1.evil.example:8000": False,
    "192.168.0.7:8000": False,
    "": False,
    "[::1": True,
}


@pytest.mark.parametrize(("host", "is_own"), HOSTS.items())
def test_requests_under_foreign_host_names_are_refused(client, host, is_own):
    answer = client.get("/api/personas", headers={"host": host})
    assert answer.status_code == (200 if is_own else 400)
    assert is_own or answer.json()["error"].startswith("This server does not go by that name")


def test_a_server_for_the_network_serves_addresses_only():
    guard = security.Guard(None, "0.0.0.0")
    assert guard._is_own("192.168.0.7:8000") and guard._is_own("[fe80::1]:8000")
    assert not guard._is_own("evil.example:8000")
    assert security.Guard(None, "studio.local")._is_own("studio.local:80")


FOREIGN = {
    "another site": {"origin": "https://evil.example"},
    "another port": {"origin": "http://localhost:9999"},
    "a sandbox": {"origin": "null"},
    "a form": {"sec-fetch-site": "cross-site"},
    "a neighbour": {"sec-fetch-site": "same-site"},
}


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("address", ["/api/explanations", "/api/uploads?name=a.wav"])
def test_other_origins_cannot_post(client, headers, address):
    answer = client.post(address, json=QUESTION, headers=headers)
    assert answer.status_code == 403 and set(answer.json()) == {"error"}


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_sites_may_link_to_the_page_and_start_no_work(client, site):
    headers = {"sec-fetch-site": site}
    assert client.get("/", headers=headers).status_code == 200
    for address in ("/api/recommendations?persona=p1&library=tiny", "/audio/tiny/track-1/mix.wav"):
        assert client.get(address, headers=headers).status_code == 403
        own = client.get(address, headers={"sec-fetch-site": "same-origin"})
        assert own.status_code < 300


def test_own_pages_and_scripts_can_post(client):
    for headers in ({}, {"origin": serving.BASE, "sec-fetch-site": "same-origin"}):
        assert client.post("/api/explanations", json=QUESTION, headers=headers).status_code < 300


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    {"127.0.0.1": True, "127.8.8.8": True, "::1": True, "localhost": True, "0.0.0.0": False,
     "192.168.0.7": False, "example.org": False}.items(),
)  # fmt: skip
def test_loopback_hosts_are_recognised(host, is_loopback):
    assert security.is_loopback(host) is is_loopback
