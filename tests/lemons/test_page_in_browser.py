"""The page in headless Chromium: by mouse and by keyboard, in all widths and colours."""

from urllib.parse import urlsplit

import numpy as np
import pytest

from lime_jax.audio import io as audio_io
from tests.lemons import browsing, tiny_library
from tests.lemons.browsing import LONG, PLAYING, choose_type, compute, opened, until

pytestmark = browsing.marks


def test_tables_sort_by_a_click_on_their_heads(browser, site):
    with opened(browser, site) as page:
        page.click("#listened summary")

        def column(n):
            return page.locator(f"#plays tbody tr > :nth-child({n})").all_inner_texts()

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


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_is_readable_on_phones_and_screens(browser, site, width, scheme):
    browsing.check_readable(browser, site, width, scheme, "tiny")


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
