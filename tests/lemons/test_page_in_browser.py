"""The page in headless Chromium: the whole walk, by mouse and by keyboard, with real sound.

With LIME_JAX_SCREENSHOTS=FOLDER it leaves pictures of both widths in light and dark.
"""

import contextlib
import io
import os
import shutil
import socket
import threading
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile
import uvicorn

from lime_jax.audio import io as audio_io
from lime_jax.lemons import HOME, explain_track, explanation_body, selections, server
from lime_jax.lemons import application as applications
from tests.lemons import serving, tiny_library

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]
LONG = 120_000  # milliseconds; a first explanation compiles
ROUNDING = 0.51 / 32_768
DEFAULT_TYPE = "time-source"
AUDIBLE = """
async (audio) => {
  const context = new AudioContext(), analyser = context.createAnalyser();
  context.createMediaElementSource(audio).connect(analyser).connect(context.destination);
  await context.resume();
  const samples = new Float32Array(analyser.fftSize);
  for (let tries = 0; tries < 100; tries++) {
    analyser.getFloatTimeDomainData(samples);
    if (samples.some((sample) => Math.abs(sample) > 0.001)) return true;
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  return false;
}
"""
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


@pytest.fixture(scope="module")
def application(tmp_path_factory):
    with serving.tiny_application(tmp_path_factory.mktemp("tiny"), seconds=5) as made:
        yield made


@pytest.fixture(scope="module")
def site(application):
    with served(application) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--autoplay-policy=no-user-gesture-required", "--no-sandbox", "--disable-gpu"],
        )
        yield chromium
        chromium.close()


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


def fetched(site, address):
    with urllib.request.urlopen(site + address) as answer:
        samples, rate = soundfile.read(io.BytesIO(answer.read()), dtype="float32")
    assert rate == tiny_library.RATE
    return samples


def check_sounds(page, site, application):
    """What the players of the Top Highlight and the Top 3 hold is what the explanation says."""
    key = page.get_attribute("#json", "href").rsplit("/", 1)[-1]
    body = application.explanations.body(key)
    record = explanation_body.record_of(body)
    sound = application.tracks.audio_of(body)
    stems, gain = sound.stems_for(record.kind), sound.gain
    for name, k in (("top", 1), ("top3", 3)):
        indices = selections.top(record, k)
        part = selections.render_selection(stems, record, indices)
        rest = selections.render_without(stems, record, indices)
        expected = (part.mix, stems.waveforms.sum(axis=0), rest)
        card = page.locator(f"[aria-labelledby={name}-title]")
        addresses = card.locator("audio").evaluate_all("all => all.map(a => a.getAttribute('src'))")
        for address, waveform in zip(addresses, expected, strict=True):
            samples = fetched(site, address)
            np.testing.assert_allclose(samples, gain * waveform, rtol=0, atol=ROUNDING)
        yield card, record, indices


def check_playing(page, card, record, indices):
    """The part starts where it is in the song; versions change places without a restart."""
    start = min(record.components[index].start for index in indices)
    card.locator(".play").click()
    part = card.locator("audio").nth(0)
    until(page, "a => a.currentTime > 0 && !a.paused", arg=part.element_handle())
    first = part.evaluate("a => a.currentTime")
    until(page, "([a, t]) => a.currentTime > t + 0.1", arg=[part.element_handle(), first])
    assert first >= start - 0.05
    before = part.evaluate("a => a.currentTime")
    card.get_by_role("button", name="Whole song").click()
    whole = card.locator("audio").nth(1)
    until(page, "a => !a.paused && a.currentTime > 0", arg=whole.element_handle())
    after = whole.evaluate("a => a.currentTime")
    assert before - 0.05 <= after < before + 2
    until(page, f"{PLAYING} === 1")
    assert whole.evaluate(AUDIBLE)
    card.get_by_role("button", name="Without this part").click()
    until(page, f"{PLAYING} === 1")
    assert card.locator("audio").nth(2).evaluate("a => !a.paused")


def walk(page, site, application):
    """Every explanation of a song, heard."""
    for kind in explain_track.TYPES:
        compute(page, kind)
        assert page.inner_text("#status") == "The explanation is ready."
        assert page.evaluate("document.activeElement.id") == "step-5"
        cells = page.locator("#heat tbody button")
        assert cells.count() == (25 if kind == "time-source" else 5)
        rows = 1 if kind == "time" else 5
        assert page.locator("#heat tbody th").count() == rows
        for card, record, indices in check_sounds(page, site, application):
            assert record.kind == kind
            assert card.locator(".row").count() == rows
            assert card.locator(".mark").count() == len(indices)
            assert "Without it the relevance" in card.inner_text()
            check_playing(page, card, record, indices)
        # A part of the heat map takes over from the player.
        cells.first.click()
        until(page, f"{PLAYING} === 0")
        cells.first.click()


def test_every_kind_of_explanation_can_be_heard(browser, site, application):
    with opened(browser, site) as page:
        assert page.locator("#persona").input_value() == "p3"
        assert page.locator("input[name=type]:checked").input_value() == DEFAULT_TYPE
        page.select_option("#persona", "p1")
        until(page, "document.querySelector('#profile h3').textContent === 'Listener 1'")
        page.wait_for_selector("#compute:not([disabled])", timeout=LONG)
        assert page.locator("#recommendations tbody tr").count() == 10
        page.locator("#recommendations tbody tr").nth(2).click()
        until(page, "document.querySelector('#song h3').textContent === 'Song 2'")
        walk(page, site, application)


@pytest.mark.skipif(not (HOME / "recommenders").exists(), reason="needs the shipped library")
def test_the_whole_walk_on_the_shipped_library(browser, tmp_path):
    made = applications.Application(HOME, cache=tmp_path)
    with served(made) as address, opened(browser, address) as page:
        walk(page, address, made)
        relevance = page.inner_text("#relevance").removeprefix("Relevance ")
        assert f"a relevance of {relevance}," in page.inner_text("#explanation")
        for width, scheme in ((1280, "light"), (390, "dark")):
            pictured(browser, address, width, scheme, "shipped")


def test_the_player_plays_and_seeks(browser, site):
    with opened(browser, site) as page:
        player = page.locator("#song .player")
        wave, audio = player.get_by_role("slider"), player.locator("audio").first
        box = wave.bounding_box()
        wave.click(position={"x": box["width"] / 2, "y": 20})
        until(page, "a => Math.abs(a.currentTime - 2.5) < 0.1", arg=audio.element_handle())
        assert wave.get_attribute("aria-valuetext") == "2.5 of 5.0 seconds"
        player.locator(".play").click()
        until(page, "a => a.currentTime > 2.8", arg=audio.element_handle())
        assert player.locator(".play").get_attribute("aria-label").startswith("Pause ")
        until(page, "a => a.paused", arg=audio.element_handle(), timeout=10_000)
        assert player.locator(".play").get_attribute("aria-label").startswith("Play ")
        compute(page, "time")
        card = page.locator("[aria-labelledby=top-title]")
        player.locator(".play").click()
        until(page, f"{PLAYING} === 1")
        card.locator(".play").click()
        until(page, "a => a.paused", arg=audio.element_handle())
        # A part ends where it ends in the song.
        until(page, f"{PLAYING} === 0", timeout=10_000)
        assert card.get_by_role("slider").get_attribute("aria-valuetext").startswith("2.0 of")


ONLY_THE_FIRST = "([first, ...others]) => !first.paused && others.every((audio) => audio.paused)"


def test_only_the_version_chosen_last_plays(browser, site):
    with opened(browser, site) as page:
        # A whole song lasts long enough to be looked at.
        compute(page, "time")
        card = page.locator("[aria-labelledby=top-title]")
        whole, without = card.locator(".choices button").all()[1:]
        whole.click()
        card.locator(".play").click()
        until(page, f"{PLAYING} === 1")
        pair = [button.element_handle() for button in (whole, without)]
        page.evaluate("([first, second]) => { second.click(); first.click(); }", pair)
        page.wait_for_timeout(300)
        sounds = [card.locator("audio").nth(i).element_handle() for i in (1, 0, 2)]
        assert page.evaluate(ONLY_THE_FIRST, sounds)


def test_a_single_component_falls_silent_with_its_explanation(browser, site):
    made = "globalThis.Audio = class extends Audio { constructor() { super(); single = this; } }"
    script = f"let single; {made}; globalThis.theSingle = () => single"
    with opened(browser, site, script=script) as page:
        compute(page, "source")
        buttons = page.locator("#heat tbody button")
        pair = [buttons.nth(i).element_handle() for i in (1, 0)]
        page.evaluate("([first, second]) => { second.click(); first.click(); }", pair)
        until(page, "!theSingle().paused")
        page.wait_for_timeout(200)
        assert page.evaluate("!theSingle().paused")
        assert page.locator("#heat [aria-pressed=true]").count() == 1
        choose_type(page, "time")
        assert page.evaluate("theSingle().paused")


def test_tables_sort_by_a_click_on_their_heads(browser, site):
    with opened(browser, site) as page:
        page.click("#listened summary")
        column = lambda n: page.locator(f"#plays tbody tr > :nth-child({n})").all_inner_texts()
        assert column(5) == sorted(column(5), key=int, reverse=True)
        page.get_by_role("button", name="Title").click()
        assert page.locator("#plays th[aria-sort]").all_inner_texts() == ["Title"]
        assert page.locator("#plays th[aria-sort]").get_attribute("aria-sort") == "ascending"
        titles = column(1)
        page.get_by_role("button", name="Title").click()
        assert column(1) == titles[::-1] and len(set(titles)) == 13


def tab_to(page, selector):
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("s => document.activeElement.matches(s)", selector):
            outline = "getComputedStyle(document.activeElement).outlineStyle"
            sibling = "getComputedStyle(document.activeElement.nextElementSibling).outlineStyle"
            is_hidden = page.evaluate("getComputedStyle(document.activeElement).opacity === '0'")
            assert page.evaluate(sibling if is_hidden else outline) != "none", selector
            return
    raise AssertionError(f"Tab never comes to {selector}")


def test_the_page_works_by_keyboard_alone(browser, site):
    with opened(browser, site) as page:
        tab_to(page, ".skip")
        tab_to(page, "#persona")
        page.keyboard.press("ArrowUp")
        until(page, "document.querySelector('#profile h3').textContent === 'Listener 2'")
        page.wait_for_selector("#compute:not([disabled])", timeout=LONG)
        tab_to(page, "#listened summary")
        tab_to(page, "input[name=library]")
        tab_to(page, "input[name=track]")
        page.keyboard.press("ArrowDown")
        until(page, "document.querySelector('#song h3').textContent === 'Song 1'")
        page.wait_for_selector("#compute:not([disabled])")
        tab_to(page, "#song [role=slider]")
        page.keyboard.press("ArrowRight")
        until(
            page,
            "document.querySelector('#song [role=slider]').ariaValueText === '1.0 of 5.0 seconds'",
        )
        tab_to(page, "input[name=type]")
        page.keyboard.press("ArrowLeft")
        tab_to(page, "#compute")
        page.keyboard.press("Enter")
        page.wait_for_selector("#explanation:not([hidden])", timeout=LONG)
        assert page.locator("#heat tbody button").count() == 5
        tab_to(page, "[aria-labelledby=top-title] [role=slider]")
        page.keyboard.press("End")
        page.keyboard.press(" ")
        until(page, f"{PLAYING} === 1")
        tab_to(page, ".choices button")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        until(page, "document.activeElement.ariaPressed === 'true'")
        tab_to(page, "#heat button")
        tab_to(page, "#json")


def pictured(browser, site, width, scheme, name):
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_is_readable_on_phones_and_screens(browser, site, width, scheme):
    pictured(browser, site, width, scheme, "tiny")


def test_hostile_names_stay_text(browser, site):
    with opened(browser, site) as page:
        compute(page, "time")
        page.click("#listened summary")
        assert page.locator("#song h3").inner_text() == tiny_library.HOSTILE
        assert page.locator("#plays").inner_text().count("<img src=x") == 2
        assert page.locator("img, [onerror]").count() == 0


def test_a_user_can_send_a_track_and_explain_it(browser, site, tmp_path):
    rng = np.random.default_rng(0)
    waveform = (0.05 * rng.standard_normal(6 * tiny_library.RATE)).astype(np.float32)
    song, broken = tmp_path / "<b>own &amp; song.flac", tmp_path / "broken.mp3"
    audio_io.save(song, waveform, tiny_library.RATE)
    broken.write_text("no song")
    with opened(browser, site, allowed=("415",)) as page:
        page.get_by_text("Your own song").click()
        page.get_by_text("Listen to your song").wait_for()
        page.set_input_files("#file", broken)
        page.get_by_text("does not begin like a file of type MP3").wait_for()
        assert page.input_value("#file") == "", "the same file can be sent again"
        page.set_input_files("#file", song)
        page.wait_for_selector("#compute:not([disabled])", timeout=LONG)
        assert page.locator("#song h3").inner_text() == "<b>own &amp; song"
        until(page, "/Relevance 0/.test(document.querySelector('#relevance').textContent)")
        assert page.locator("input[name=type]:disabled").count() == 2
        page.click("#compute")
        page.wait_for_selector("#explanation:not([hidden])", timeout=LONG)
        assert page.locator("#heat tbody button").count() == 5


def test_the_page_says_that_the_server_vanished(browser, site):
    with opened(browser, site, allowed=("ERR_FAILED", "ERR_INTERNET")) as page:
        page.route("**/api/explanations", lambda route: route.abort())
        page.click("#compute")
        page.get_by_text("The server does not answer").wait_for()
        assert page.locator("#compute").is_enabled()


def test_known_explanations_start_no_job(browser, site):
    with opened(browser, site) as page:
        compute(page, "source")
        choose_type(page, "time")
        choose_type(page, "source")
        asked = []
        page.on("response", lambda answer: asked.append((urlsplit(answer.url).path, answer.status)))
        page.click("#compute")
        page.wait_for_selector("#explanation:not([hidden])", timeout=LONG)
        assert ("/api/explanations", 200) in asked
        assert not any(path.startswith("/api/jobs") for path, _ in asked)
