"""The page in headless Chromium: opening it, waiting for it, and what to ask of every page.

With LIME_JAX_SCREENSHOTS=FOLDER the tests leave pictures of both widths in light and dark.
"""

import contextlib
import os
import shutil
import socket
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import uvicorn

from lime_jax.lemons import server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
marks = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]
LONG = 120_000  # milliseconds; a first explanation compiles
DEFAULT_TYPE = "time-source"
PLAYING = "[...document.querySelectorAll('audio')].filter((audio) => !audio.paused).length"
# The smallest contrast of any text on the page with what is behind it, and the text.
CONTRAST = """
() => {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = rgba(getComputedStyle(e).backgroundColor);
      if (colour[3] > 250) return colour;
    }
    return [255, 255, 255, 255];
  };
  let worst = [21, ""];
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].filter((n) => n.nodeType === 3 && n.data.trim());
    if (!text.length || !element.checkVisibility() || element.closest(":disabled")) continue;
    const [a, b] = [luminance(rgba(getComputedStyle(element).color)), luminance(behind(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < worst[0]) worst = [contrast, element.className + ": " + text[0].data.trim()];
  }
  return worst;
}
"""
NAMELESS = """
() => [...document.querySelectorAll("button, a, input, select, progress, [role]")]
  .filter((e) => !["status", "region"].includes(e.role))
  .filter((e) => !(e.textContent.trim() && e.matches("button, a")))
  .filter((e) => !e.ariaLabel && !e.labels?.length && !e.getAttribute("aria-labelledby"))
  .map((e) => e.outerHTML)
"""


@contextlib.contextmanager
def served(application):
    """The application behind a real socket."""
    listener = socket.create_server(("127.0.0.1", 0))
    settings = uvicorn.Config(server.web_application(application), log_level="warning", ws="none")
    running = uvicorn.Server(settings)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        running.should_exit = True
        thread.join(20)


@contextlib.contextmanager
def opened(browser, site, width=1280, scheme="light", allowed=(), script=""):
    """A page that must not complain, run what names say, or ask anybody else for anything.

    script runs before the page's own.
    """
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    context.add_init_script(script)
    complaints, page = [], context.new_page()
    page.on("request", lambda request: _check_own(request.url, site, complaints))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
    page.on("console", lambda m: m.type in ("error", "warning") and complaints.append(m.text))
    try:
        page.goto(site)
        page.wait_for_selector("#compute:not([disabled])", timeout=LONG)
        page.wait_for_selector("#plays tbody tr", state="attached", timeout=LONG)
        yield page
        assert [text for text in complaints if not any(part in text for part in allowed)] == []
    finally:
        context.close()


def _check_own(url, site, complaints):
    if urlsplit(url).scheme != "data" and not url.startswith(f"{site}/"):
        complaints.append(f"a request to {url}")


def until(page, expression, arg=None, timeout=LONG):
    """Waits for an expression; Playwright's own way needs what the policy of the page forbids."""
    end = time.monotonic() + timeout / 1000
    while not page.evaluate(expression, arg):
        assert time.monotonic() < end, expression
        time.sleep(0.02)


def choose_type(page, kind):
    """Clicks what a person clicks: the label, once it has come to rest."""
    button = page.locator(f"input[name=type][value={kind}]")
    page.locator("#types label").filter(has=button).click()
    assert button.is_checked()


def compute(page, kind):
    choose_type(page, kind)
    page.click("#compute")
    page.wait_for_selector("#explanation:not([hidden])", timeout=LONG)


def check_readable(browser, site, width, scheme, name):
    """No text is too faint, nothing sticks out, everything has a name; and a picture of it."""
    with opened(browser, site, width, scheme) as page:
        compute(page, DEFAULT_TYPE)
        page.click("#listened summary")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(NAMELESS) == []
        contrast, text = page.evaluate(CONTRAST)
        assert contrast >= 4.5, text
        small = page.locator("button:visible").evaluate_all(
            "all => all.filter(b => b.getBoundingClientRect().height < 24).map(b => b.outerHTML)"
        )
        assert small == []
        if folder := os.environ.get("LIME_JAX_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            path = Path(folder, f"{name}-{width}-{scheme}.png")
            page.evaluate("scrollTo(0, 0)")
            page.screenshot(path=path, full_page=True)
