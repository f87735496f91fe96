"use strict";
// All tracks of a player start at the same instant; choosing one only moves gains, so that tracks
// stay in step. Nothing is fetched: the sound is base64 inside the page.

const FADE = 0.01; // s, long enough not to click
const LEAD = 0.05; // s, until all sources are ready to start together
const STEP = 1; // s, what an arrow key moves

const { sampleRate, duration, tracks } = JSON.parse(document.getElementById("tracks").textContent);
const buffers = new Map();
let context = null;
let active = null;

function audio() {
  if (!context) {
    try {
      context = new AudioContext({ sampleRate });
    } catch {
      context = new AudioContext();
    }
  }
  return context;
}

function decoded(id) {
  if (!buffers.has(id)) {
    const bytes = Uint8Array.from(atob(tracks[id]), (character) => character.charCodeAt(0));
    buffers.set(id, audio().decodeAudioData(bytes.buffer));
  }
  return buffers.get(id);
}

class Player {
  constructor(section) {
    this.root = section.querySelector(".player");
    this.toggleButton = this.root.querySelector(".toggle");
    this.seekBar = this.root.querySelector(".seek");
    this.clock = this.root.querySelector(".clock");
    this.message = this.root.querySelector(".message");
    this.radios = [...this.root.querySelectorAll("input[type=radio]")];
    this.ids = [...new Set(this.radios.map((radio) => Number(radio.value)))];
    this.partButtons = [...section.querySelectorAll("button[data-track]")];
    this.offset = 0; // s, where playing starts
    this.request = null; // what play() works on, until it is halted
    this.voices = null; // a source and a gain per track while they sound
    this.listen();
    this.show();
    for (const element of [this.root, ...this.partButtons]) element.hidden = false;
  }

  listen() {
    this.toggleButton.addEventListener("click", () => this.toggle());
    this.seekBar.addEventListener("input", () => this.seek(Number(this.seekBar.value)));
    for (const radio of this.radios) radio.addEventListener("change", () => this.mix());
    for (const button of this.partButtons) {
      button.addEventListener("click", () => this.audition(Number(button.dataset.track)));
    }
  }

  get chosen() {
    return Number(this.radios.find((radio) => radio.checked).value);
  }

  get position() {
    if (!this.voices) return this.offset;
    const elapsed = Math.max(0, context.currentTime - this.startedAt);
    return Math.min(duration, this.offset + elapsed);
  }

  async play() {
    if (active && active !== this) active.pause();
    active = this;
    const request = (this.request = {});
    if (!this.ids.every((id) => buffers.has(id))) this.message.textContent = "Decoding …";
    try {
      audio().resume();
      const ready = await Promise.all(this.ids.map(decoded));
      if (this.request !== request) return;
      this.message.textContent = "";
      this.start(ready);
    } catch (error) {
      this.halt(this.offset);
      this.message.textContent = `This browser cannot play the sound: ${error.message}`;
    }
  }

  start(ready) {
    if (this.offset >= duration) this.offset = 0;
    this.startedAt = context.currentTime + LEAD;
    this.voices = this.ids.map((id, i) => {
      const source = new AudioBufferSourceNode(context, { buffer: ready[i] });
      const gain = new GainNode(context, { gain: id === this.chosen ? 1 : 0 });
      source.connect(gain).connect(context.destination);
      source.start(this.startedAt, this.offset);
      return { id, source, gain };
    });
    const voices = this.voices;
    voices[0].source.onended = () => {
      if (this.voices === voices) this.halt(0);
    };
    this.follow(voices);
  }

  pause() {
    this.halt(this.position);
  }

  halt(offset) {
    this.request = null;
    for (const { source } of this.voices ?? []) source.stop();
    this.voices = null;
    this.offset = offset;
    this.message.textContent = "";
    this.show();
  }

  toggle() {
    if (this.request) this.pause();
    else this.play();
  }

  seek(position) {
    const running = this.request !== null;
    this.halt(Math.min(duration, Math.max(0, position)));
    if (running) this.play();
  }

  audition(id) {
    const again = this.request && this.chosen === id;
    this.radios.find((radio) => Number(radio.value) === id).checked = true;
    this.mix();
    if (again) this.pause();
    else if (!this.request) this.play();
  }

  mix() {
    for (const { id, gain } of this.voices ?? []) {
      gain.gain.setTargetAtTime(id === this.chosen ? 1 : 0, context.currentTime, FADE / 3);
    }
    this.show();
  }

  follow(voices) {
    if (this.voices !== voices) return;
    this.show();
    requestAnimationFrame(() => this.follow(voices));
  }

  show() {
    const now = `${this.position.toFixed(1)} / ${duration.toFixed(1)} s`;
    const playing = this.voices !== null;
    this.clock.textContent = now;
    this.seekBar.value = this.position;
    this.seekBar.setAttribute("aria-valuetext", now);
    this.root.classList.toggle("playing", playing);
    this.toggleButton.setAttribute("aria-label", playing ? "Pause" : "Play");
    for (const button of this.partButtons) {
      const heard = playing && Number(button.dataset.track) === this.chosen;
      button.setAttribute("aria-pressed", String(heard));
    }
  }
}

const players = new Map();
for (const section of document.querySelectorAll("section.output")) {
  if (section.querySelector(".player")) players.set(section, new Player(section));
}

document.addEventListener("keydown", (event) => {
  const { target, key } = event;
  const player = players.get(target.closest("section.output")) ?? active;
  if (!player || event.ctrlKey || event.metaKey || event.altKey) return;
  const step = { ArrowLeft: -STEP, ArrowRight: STEP }[key];
  if (key === " " && !target.closest("button, summary")) player.toggle();
  else if (step && !target.matches("input, .scroll")) player.seek(player.position + step);
  else return;
  event.preventDefault();
});
