// A player: the waveform is a slider that seeks, and versions of the sound change places in step.

import { h, s, seconds } from "/static/dom.js";

const WIDTH = 480, HEIGHT = 40, STRIPES = 6;
let sounding = null;
let count = 0;

const area = ({ low, high }, peak) => {
  const x = (i) => ((i / Math.max(1, high.length - 1)) * WIDTH).toFixed(1);
  const y = (value) => (HEIGHT / 2 - (value / peak) * HEIGHT * 0.48).toFixed(2);
  const upper = high.map((value, i) => `${x(i)} ${y(value)}`);
  const lower = low.map((value, i) => `${x(i)} ${y(value)}`).reverse();
  return `M${[...upper, ...lower].join("L")}Z`;
};

const mark = (part, duration, path) => {
  const left = (part.start / duration) * WIDTH;
  const width = ((part.end - part.start) / duration) * WIDTH;
  const clip = `clip-${++count}`;
  const step = Math.min(WIDTH / 5 / STRIPES, width);
  let stripes = "";
  for (let x = left + step / 2; x < left + width; x += step) stripes += `M${x} 0V${HEIGHT}`;
  return [
    s("clipPath", { id: clip }, s("rect", { x: left, y: 0, width, height: HEIGHT })),
    s("path", { class: "outline lit", d: path, "clip-path": `url(#${clip})` }),
    s("path", { class: "stripes", d: stripes }),
    s("rect", { class: "mark", x: left, y: 0, width, height: HEIGHT }),
  ];
};

const peakOf = (outlines) =>
  Math.max(1e-3, ...outlines.flatMap(({ low, high }) => [...high, ...low.map((value) => -value)]));

export class Player {
  // label: what it plays. rows: {name, outline, parts: [{start, end, flag}]}.
  // choices: {label, sound, range}; a range is the stretch of the song that the sound fills.
  constructor({ label, duration, rows, choices }) {
    Object.assign(this, { label, duration, choices, index: 0 });
    this.sounds = choices.map((choice, i) => this.#sound(choice, i));
    this.cursor = h("div", { class: "cursor" });
    this.wave = this.#wave(rows);
    this.clock = h("span", { class: "clock", "aria-hidden": "true" });
    this.button = this.#playButton();
    this.buttons = choices.map((choice, i) =>
      h("button", { type: "button", onclick: () => this.choose(i) }, choice.label));
    this.message = h("p", { class: "note", role: "status" });
    const axis = h("div", { class: "axis", "aria-hidden": "true" },
      h("span", {}, "0 s"), h("span", {}, `${seconds(duration / 2)} s`),
      h("span", {}, `${seconds(duration)} s`));
    const group = choices.length > 1
      ? h("div", { class: "choices", role: "group", "aria-label": "Listen to" }, this.buttons) : null;
    this.element = h("div", { class: "player", role: "group", "aria-label": `Player: ${label}` },
      this.wave, axis,
      h("div", { class: "controls" }, this.button, this.clock, group), this.message, this.sounds);
    this.at = choices[0].range?.[0] ?? 0;
    this.#press();
    this.#show();
  }

  get sound() { return this.sounds[this.index]; }

  get position() { return this.sound.readyState ? this.sound.currentTime : this.at; }

  get isPlaying() { return this.element.classList.contains("playing"); }

  async play() {
    if (sounding && sounding !== this) sounding.pause();
    sounding = this;
    this.#enterRange();
    for (const sound of this.sounds) sound.preload = "auto";
    this.#setPlaying(true);
    await this.#start(this.sound);
    this.#follow();
  }

  pause() {
    this.at = this.position;
    for (const sound of this.sounds) sound.pause();
    this.#setPlaying(false);
    this.#show();
  }

  seek(time) {
    this.at = Math.min(Math.max(0, time), this.duration);
    this.sound.currentTime = this.at;
    this.#show();
  }

  // Another version from the same moment on, without a restart.
  async choose(index) {
    if (index === this.index) return this.isPlaying ? undefined : this.play();
    const before = this.sound;
    this.at = this.position;
    this.index = index;
    this.#press();
    this.sound.currentTime = this.at;
    if (!this.isPlaying) return this.#show();
    this.#enterRange();
    await this.#start(this.sound);
    // Whoever chose it again meanwhile wants to hear it.
    if (this.sound !== before) before.pause();
  }

  remove() {
    this.pause();
    for (const sound of this.sounds) sound.removeAttribute("src");
    this.element.remove();
  }

  #start(sound) {
    return sound.play().catch((error) => {
      if (error.name === "AbortError") return;
      this.pause();
      this.message.textContent = "This sound cannot be played.";
    });
  }

  #sound({ sound }, index) {
    const ended = () => {
      if (index !== this.index) return;
      this.pause();
      this.seek(this.choices[index].range?.[0] ?? 0);
    };
    const moved = () => index === this.index && this.#show();
    return h("audio", { src: sound, preload: index ? "none" : "metadata", onended: ended,
      onseeked: moved, ontimeupdate: moved });
  }

  #wave(rows) {
    const peak = peakOf(rows.map((row) => row.outline));
    const drawn = rows.map((row) => {
      const path = area(row.outline, peak);
      const picture = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none" },
        s("path", { class: "outline", d: path }),
        row.parts.map((part) => mark(part, this.duration, path)));
      const flags = row.parts.filter((part) => part.flag).map((part) =>
        h("span", { class: "flag", left: `${(part.start / this.duration) * 100}%` }, part.flag));
      const name = row.name ? h("span", { class: "name" }, row.name) : null;
      return h("div", { class: "row" }, picture, name, flags);
    });
    const wave = h("div", { class: rows.length > 1 ? "wave rows-many" : "wave", role: "slider",
      tabindex: "0", "aria-label": `Position in ${this.label}`, "aria-valuemin": "0",
      "aria-valuemax": seconds(this.duration), onkeydown: (event) => this.#key(event) },
      drawn, this.cursor);
    const toPointer = (event) => {
      const box = wave.getBoundingClientRect();
      this.seek(((event.clientX - box.left) / box.width) * this.duration);
    };
    wave.addEventListener("pointerdown", (event) => {
      wave.setPointerCapture(event.pointerId);
      toPointer(event);
    });
    wave.addEventListener("pointermove", (event) => {
      if (wave.hasPointerCapture(event.pointerId)) toPointer(event);
    });
    return wave;
  }

  #playButton() {
    return h("button", { type: "button", class: "play",
      onclick: () => (this.isPlaying ? this.pause() : this.play()) },
      s("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" },
        s("path", { class: "start", d: "M2 1l7 4-7 4z" }),
        s("path", { class: "pause", d: "M2 1h2.2v8H2zM5.8 1H8v8H5.8z" })));
  }

  #key(event) {
    const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1,
      PageUp: this.duration / 5, PageDown: -this.duration / 5, Home: -Infinity, End: Infinity };
    if (event.key in steps) this.seek(this.position + steps[event.key]);
    else if (event.key === " " || event.key === "Enter") this.button.click();
    else return;
    event.preventDefault();
  }

  // A part of the song is heard from where it begins.
  #enterRange() {
    const range = this.choices[this.index].range;
    if (range && (this.position < range[0] - 0.01 || this.position >= range[1] - 0.05)) {
      this.seek(range[0]);
    } else if (!this.sound.currentTime) {
      this.sound.currentTime = this.at;
    }
  }

  #follow() {
    if (!this.isPlaying) return;
    const range = this.choices[this.index].range;
    if (range && this.position >= range[1]) {
      this.pause();
      this.seek(range[0]);
      return;
    }
    this.#show();
    requestAnimationFrame(() => this.#follow());
  }

  #setPlaying(isPlaying) {
    this.element.classList.toggle("playing", isPlaying);
    this.button.setAttribute("aria-label", `${isPlaying ? "Pause" : "Play"} ${this.label}`);
    if (isPlaying) this.message.textContent = "";
  }

  #press() {
    this.buttons.forEach((button, i) => button.setAttribute("aria-pressed", i === this.index));
    this.button.setAttribute("aria-label", `${this.isPlaying ? "Pause" : "Play"} ${this.label}`);
  }

  #show() {
    const now = Math.min(this.position, this.duration);
    this.cursor.style.left = `${(now / this.duration) * 100}%`;
    this.clock.textContent = `${seconds(now)} / ${seconds(this.duration)} s`;
    this.wave.setAttribute("aria-valuenow", seconds(now));
    this.wave.setAttribute("aria-valuetext", `${seconds(now)} of ${seconds(this.duration)} seconds`);
  }
}

// The parts of the heat map sound one at a time, and silence the players.
const single = new Audio();
let pressed = null;

export const release = () => {
  single.pause();
  pressed?.setAttribute("aria-pressed", "false");
  pressed = null;
};
single.addEventListener("ended", release);

export const playOnce = (button, sound) => {
  const isSame = pressed === button;
  release();
  if (sounding) sounding.pause();
  sounding = { pause: release };
  if (isSame) return;
  pressed = button;
  button.setAttribute("aria-pressed", "true");
  single.src = sound;
  // A sound that another one replaced fails, too: that is no reason to silence the other one.
  single.play().catch(() => { if (pressed === button) release(); });
};
