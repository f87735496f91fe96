"""The page in headless Chromium: sounds decode, tracks switch in step, nothing is violated."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]

# Records what the page does with Web Audio, and everything the browser complains about.
SPY = """
{
  const spy = (window.spy = { complaints: [], gains: [], buffers: [] });
  addEventListener("error", (event) => spy.complaints.push(event.message));
  addEventListener("unhandledrejection", (event) => spy.complaints.push(String(event.reason)));
  addEventListener("securitypolicyviolation", (event) => spy.complaints.push(event.blockedURI));
  window.alert = (text) => spy.complaints.push("alert " + text);
  const Gain = GainNode, decode = BaseAudioContext.prototype.decodeAudioData;
  window.GainNode = class extends Gain {
    constructor(...args) { super(...args); spy.gains.push(this); }
  };
  BaseAudioContext.prototype.decodeAudioData = function (bytes) {
    return decode.call(this, bytes).then((buffer) => (spy.buffers.push(buffer), buffer));
  };
}
"""
# Chromium reads its debugging pipe from descriptor 3 and writes to 4.
ON_PIPES = """
import os, sys
to_child, from_child, *command = sys.argv[1:]
os.dup2(int(to_child), 3)
os.dup2(int(from_child), 4)
os.execv(command[0], command)
"""
AUDIBLE = "spy.gains.filter((gain) => gain.gain.value > 0.5).length"
CLOCK = "parseFloat(document.querySelector('.clock').textContent)"


class Browser:
    """Chromium spoken to over its debugging pipe, messages ending in a zero byte."""

    def __init__(self, profile):
        to_child, self._out = os.pipe()
        self._in, from_child = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-c", ON_PIPES, str(to_child), str(from_child), CHROMIUM,
             "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"],
            pass_fds=(to_child, from_child), stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_child)
        os.close(from_child)
        self._count, self._buffer, self._session = 0, b"", None
        self.complaints = []

    def open(self):
        """Opens an empty page to talk to."""
        target = self("Target.createTarget", url="about:blank")["targetId"]
        attached = self("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self(f"{domain}.enable")
        self("Page.bringToFront")

    def __call__(self, method, **params):
        """Sends one command and returns its result."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (reply := self._receive()).get("id") != self._count:
            if reply["method"] in ("Log.entryAdded", "Runtime.exceptionThrown"):
                self.complaints.append(reply["params"])
        assert "error" not in reply, reply
        return reply["result"]

    def evaluate(self, expression):
        """The JSON value of an expression in the page, as if a user had clicked."""
        reply = self(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True,
            userGesture=True,
        )  # fmt: skip
        assert "exceptionDetails" not in reply, reply
        return reply["result"].get("value")

    def wait(self, condition, seconds=20):
        """Until an expression becomes true."""
        end = time.monotonic() + seconds
        while not self.evaluate(condition):
            assert time.monotonic() < end, f"never: {condition}"
            time.sleep(0.05)

    def close(self):
        os.close(self._out)
        os.close(self._in)
        self._process.terminate()
        self._process.wait(10)

    def _receive(self):
        while b"\0" not in self._buffer:
            received = os.read(self._in, 2**16)
            assert received, "Chromium ended"
            self._buffer += received
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)


@pytest.fixture(scope="module")
def browser(folder, tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    try:
        browser.open()
        browser("Page.addScriptToEvaluateOnNewDocument", source=SPY)
        browser("Page.navigate", url=(folder / "report.html").as_uri())
        browser.wait("document.readyState === 'complete' && players.size === 4")
        yield browser
    finally:
        browser.close()


def test_tracks_play_in_step_one_at_a_time(browser, song):
    browser.evaluate("document.querySelector('.toggle').click()")
    browser.wait(f"{CLOCK} > 0.2")
    lengths = browser.evaluate("spy.buffers.map((buffer) => [buffer.length, buffer.sampleRate])")
    assert len(lengths) == 5, "one of each: without the top two is the same as the third stem"
    assert {tuple(length) for length in lengths} == {(len(song.waveform), song.sample_rate)}
    assert browser.evaluate(AUDIBLE) == 1

    before = browser.evaluate(CLOCK)
    browser.evaluate("document.querySelectorAll('label input')[3].click()")
    browser.wait("spy.gains[3].gain.value > 0.9 && spy.gains[0].gain.value < 0.1")
    assert browser.evaluate(AUDIBLE) == 1
    assert browser.evaluate(CLOCK) >= before
    assert browser.evaluate("spy.gains.length") == 5, "switching must not start anything anew"


def test_keys_pause_and_move(browser):
    browser.evaluate("document.querySelector('.seek').focus()")
    press(browser, " ", 32)
    browser.wait("!document.querySelector('.player').classList.contains('playing')")
    browser.evaluate("document.querySelector('.toggle').focus()")
    before = browser.evaluate(CLOCK)
    press(browser, "ArrowLeft", 37)
    assert browser.evaluate(CLOCK) == pytest.approx(max(0, before - 1), abs=0.06)
    browser.evaluate("document.querySelector('.player input[type=radio]:checked').focus()")
    press(browser, "ArrowLeft", 37)
    assert browser.evaluate("document.querySelectorAll('label input')[2].checked")


def test_another_player_takes_over(browser):
    browser.evaluate("document.querySelectorAll('section')[1].querySelector('.toggle').click()")
    browser.wait("document.querySelectorAll('.playing').length === 1")
    browser.evaluate(
        "document.querySelectorAll('section')[0].querySelector('tbody button').click()"
    )
    browser.wait("document.querySelectorAll('.player')[0].classList.contains('playing')")
    assert browser.evaluate("document.querySelectorAll('.playing').length") == 1
    assert browser.evaluate("document.querySelectorAll('[aria-pressed=true]').length") == 1


def test_nothing_is_violated_or_run(browser):
    assert browser.evaluate("spy.complaints") == []
    assert browser.complaints == []
    assert browser.evaluate("document.querySelectorAll('[onerror], [onload]').length") == 0


def test_phones_need_not_scroll_sideways(browser):
    browser("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1,
            mobile=True)  # fmt: skip
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390


def press(browser, key, code):
    event = {"key": key, "windowsVirtualKeyCode": code, "text": key if key == " " else ""}
    browser("Input.dispatchKeyEvent", type="keyDown", **event)
    browser("Input.dispatchKeyEvent", type="keyUp", **event)
