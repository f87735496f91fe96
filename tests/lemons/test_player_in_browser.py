"""The players of the page in headless Chromium: every explanation heard, with real sound."""

import io
import urllib.request

import numpy as np
import pytest
import soundfile

from lime_jax.lemons import HOME, explain_track, explanation_body, selections
from lime_jax.lemons.application import Application
from tests.lemons import browsing, tiny_library
from tests.lemons.browsing import (
    DEFAULT_TYPE,
    LONG,
    PLAYING,
    choose_type,
    compute,
    opened,
    served,
    until,
)

pytestmark = browsing.marks
ROUNDING = 0.51 / 32_768
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
ONLY_THE_FIRST = "([first, ...others]) => !first.paused && others.every((audio) => audio.paused)"


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


def test_every_kind_of_explanation_can_be_heard(browser, site, page_application):
    with opened(browser, site) as page:
        assert page.locator("#persona").input_value() == "p3"
        assert page.locator("input[name=type]:checked").input_value() == DEFAULT_TYPE
        page.select_option("#persona", "p1")
        until(page, "document.querySelector('#profile h3').textContent === 'Listener 1'")
        page.wait_for_selector("#compute:not([disabled])", timeout=LONG)
        assert page.locator("#recommendations tbody tr").count() == 10
        page.locator("#recommendations tbody tr").nth(2).click()
        until(page, "document.querySelector('#song h3').textContent === 'Song 2'")
        walk(page, site, page_application)


@pytest.mark.skipif(not (HOME / "recommenders").exists(), reason="needs the shipped library")
def test_every_kind_of_shipped_explanation_can_be_heard(browser, tmp_path):
    made = Application(HOME, cache=tmp_path)
    with served(made) as address, opened(browser, address) as page:
        walk(page, address, made)
        relevance = page.inner_text("#relevance").removeprefix("Relevance ")
        assert f"a relevance of {relevance}," in page.inner_text("#explanation")
        for width, scheme in ((1280, "light"), (390, "dark")):
            browsing.check_readable(browser, address, width, scheme, "shipped")


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
