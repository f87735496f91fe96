"""The page about a store in headless Chromium: it sorts, plays and violates nothing."""

import pytest

from lime_jax import runs
from lime_jax.report import summary
from lime_jax.runs.items import Item
from tests.report.test_browser import CHROMIUM, SPY, Browser
from tests.runs.conftest import write_song

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]

HOSTILE = "</script><img src=x onerror=alert(1)>"
CELLS = "[...document.querySelectorAll('#weights tbody tr')].filter(r => !r.hidden)"


@pytest.fixture(scope="module")
def page(model, tmp_path_factory):
    root = tmp_path_factory.mktemp("page")
    items = [
        Item(f"{HOSTILE} {seed}", stems=write_song(root / f"s{seed}", seed), group=HOSTILE)
        for seed in range(6)
    ]
    config = runs.RunConfig(source="", output_dir=root / "store", components="stems", model="m")
    runs.run(config, items=items, model=model)
    return summary.write_report(root / "report", runs.open_store(root / "store"))


@pytest.fixture(scope="module")
def browser(page, tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    try:
        browser.open()
        browser("Page.addScriptToEvaluateOnNewDocument", source=SPY)
        browser("Page.navigate", url=page.as_uri())
        browser.wait("document.readyState === 'complete'")
        yield browser
    finally:
        browser.close()


def test_tables_sort_by_numbers(browser):
    head = "document.querySelectorAll('#weights th[aria-sort]')[3]"
    column = f"{CELLS}.map(row => Number(row.cells[3].dataset.value))"
    browser.evaluate(f"{head}.querySelector('button').click()")
    values = browser.evaluate(column)
    assert values == sorted(values, reverse=True) and len(set(values)) > 3
    assert browser.evaluate(f"{head}.getAttribute('aria-sort')") == "descending"
    browser.evaluate(f"{head}.querySelector('button').click()")
    assert browser.evaluate(column) == sorted(values)


def test_tables_show_the_rows_asked_for(browser):
    everything = browser.evaluate(f"{CELLS}.length")
    browser.evaluate(
        "const f = document.getElementById('filter'); f.value = 'drums'; "
        "f.dispatchEvent(new Event('input'))"
    )
    names = browser.evaluate(f"{CELLS}.map(row => row.querySelector('th').textContent)")
    assert set(names) == {"drums"} and len(names) == everything / 3
    browser.evaluate("f.value = ''; f.dispatchEvent(new Event('input'))")


def test_clips_play(browser):
    number = browser.evaluate("document.querySelectorAll('audio').length")
    assert number >= 6
    browser.evaluate(
        "document.querySelectorAll('audio').forEach(audio => { audio.preload = 'auto'; "
        "audio.load(); })"
    )
    browser.wait("[...document.querySelectorAll('audio')].every(a => a.readyState === 4)")
    lengths = browser.evaluate("[...document.querySelectorAll('audio')].map(a => a.duration)")
    assert all(abs(length - 1.0) < 0.2 for length in lengths), lengths


def test_nothing_is_violated_or_run(browser):
    assert browser.evaluate("spy.complaints") == []
    assert browser.complaints == []
    assert browser.evaluate("document.querySelectorAll('[onerror]').length") == 0
    assert browser.evaluate("document.body.textContent.includes('<img src=x')")


def test_phones_need_not_scroll_sideways(browser):
    browser("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1,
            mobile=True)  # fmt: skip
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390
