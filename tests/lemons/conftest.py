"""One server and one browser for all tests of the page."""

import pytest

from tests.lemons import serving


@pytest.fixture(scope="session")
def page_application(tmp_path_factory):
    """An application on tracks of five seconds, long enough to be looked at while they play."""
    with serving.tiny_application(tmp_path_factory.mktemp("tiny"), seconds=5) as made:
        yield made


@pytest.fixture(scope="session")
def site(page_application):
    """The address of a server."""
    from tests.lemons import browsing

    with browsing.served(page_application) as address:
        yield address


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium, which plays sounds unasked."""
    from playwright.sync_api import sync_playwright

    from tests.lemons import browsing

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=browsing.CHROMIUM,
            args=["--autoplay-policy=no-user-gesture-required", "--no-sandbox", "--disable-gpu"],
        )
        yield chromium
        chromium.close()
