// Five steps: listener, library, song, explanation, listening. Each one asks for what it needs.

import { explain, get, getComputed, query, upload } from "/static/api.js";
import { $ } from "/static/dom.js";
import { release } from "/static/player.js";
import * as views from "/static/views.js";

const state = { persona: $("persona").value, library: checked("library"), track: null,
  relevance: null, song: null, own: null };
const players = new Set();
// Numbers of the latest request per step: what came of earlier ones is not wanted any more.
const latest = { profile: 0, songs: 0, song: 0, explanation: 0, file: 0 };

function checked(name) {
  return document.querySelector(`input[name="${name}"]:checked`).value;
}

const fresh = (step) => {
  const number = ++latest[step];
  return () => number !== latest[step];
};

const say = (place, text) => { $(place).textContent = text; };

const clearExplanation = () => {
  latest.explanation++;
  for (const player of players) player.remove();
  players.clear();
  release();
  $("explanation").replaceChildren();
  $("explanation").hidden = true;
  $("nothing-yet").hidden = false;
  $("progress").hidden = true;
  say("status", "");
  $("compute").disabled = state.track === null;
};

const clearSong = () => {
  latest.song++;
  state.song?.player.remove();
  Object.assign(state, { song: null, track: null });
  $("song").hidden = true;
  clearExplanation();
};

const progressText = ({ state: phase, done, total, position }) => {
  if (phase === "queued" && position) return `Waiting: ${position} before you`;
  return total ? `${Math.round((100 * done) / total)} %` : "Starting";
};

async function showProfile() {
  const isStale = fresh("profile");
  $("profile").setAttribute("aria-busy", "true");
  try {
    const listener = await get(`/api/personas/${encodeURIComponent(state.persona)}`);
    if (isStale()) return;
    $("profile").replaceChildren(...views.profile(listener));
    say("listener-name", listener.name);
    views.plays($("plays"), listener.tracks);
  } catch (error) {
    if (!isStale()) $("profile").textContent = error.message;
  }
  $("profile").setAttribute("aria-busy", "false");
}

async function showRecommendations() {
  const isStale = fresh("songs");
  clearSong();
  $("recommended").hidden = true;
  say("which-song", state.library === "own" ? "Listen to your song" : "Choose a recommended song");
  if (state.library === "own") return showOwn();
  say("recommending", "The recommender listens to the library …");
  try {
    const { persona, library } = state;
    const tracks = await getComputed(`/api/recommendations?${query({ persona, library })}`,
      (job) => say("recommending", `The recommender listens to the library: ${progressText(job)}`),
      isStale);
    if (tracks === null) return;
    say("recommending", "");
    const byId = Object.fromEntries(tracks.map((track) => [track.id, track]));
    const choose = (id) => showSong(id, byId[id].relevance);
    views.recommendations($("recommendations"), tracks, tracks[0].id, choose);
    $("recommended").hidden = false;
    await choose(tracks[0].id);
  } catch (error) {
    if (!isStale()) say("recommending", error.message);
  }
}

async function showSong(id, relevance) {
  clearSong();
  const isStale = fresh("song");
  try {
    const track = await get(
      `/api/tracks/${encodeURIComponent(state.library)}/${encodeURIComponent(id)}`);
    if (isStale()) return;
    state.track = track;
    state.song = views.song(track, relevance);
    $("song").replaceChildren(...state.song.content);
    $("song").hidden = false;
    say("recommending", "");
    offerTypes(track.types);
    $("compute").disabled = false;
  } catch (error) {
    if (!isStale()) say("recommending", error.message);
  }
}

const offerTypes = (types) => {
  for (const input of document.querySelectorAll("input[name=type]")) {
    input.disabled = !types.includes(input.value);
    if (input.checked && input.disabled) document.querySelector("input[value=time]").checked = true;
  }
};

async function showOwn() {
  if (state.own === null) return say("recommending", "Choose a song of yours above.");
  say("recommending", "");
  const isStale = fresh("songs");
  await showSong(state.own.track, null);
  if (isStale() || state.song === null) return;
  const { persona } = state;
  const { badge } = state.song;
  try {
    const address = `/api/relevance?${query({ persona, library: "own", track: state.own.track })}`;
    const found = await getComputed(address, () => {}, isStale);
    if (found !== null) views.showRelevance(badge, found.relevance);
  } catch (error) {
    if (!isStale()) say("recommending", error.message);
  }
}

async function send() {
  const [file] = $("file").files;
  if (!file) return;
  const isStale = fresh("file");
  say("file-status", "The song is being sent and read …");
  try {
    const own = await upload(file);
    if (isStale()) return;
    state.own = own;
    // Choosing the same file is a change only then: the server forgets songs, and some are refused.
    $("file").value = "";
    say("file-status", `“${own.title}” is ready.`);
    if (state.library === "own") await showRecommendations();
  } catch (error) {
    if (isStale()) return;
    say("file-status", error.message);
    $("file").value = "";
  }
}

async function compute() {
  clearExplanation();
  const isStale = fresh("explanation");
  const { track, persona, library } = state;
  const question = { persona, library, track: track.id, type: checked("type") };
  $("compute").disabled = true;
  $("progress").hidden = false;
  tellProgress({ state: "running", done: 0, total: 0, position: 0 });
  say("status", "The explanation is being computed.");
  try {
    const found = await explain(question, tellProgress, isStale);
    if (found === null) return;
    await showExplanation(found, track, isStale);
  } catch (error) {
    if (isStale()) return;
    say("status", error.message);
  }
  if (isStale()) return;
  $("progress").hidden = true;
  $("compute").disabled = false;
}

// The work has stages, each of which counts anew; the bar never goes back.
const tellProgress = (job) => {
  if (!job.total) $("bar").removeAttribute("value");
  else $("bar").value = Math.max($("bar").value, (0.95 * job.done) / job.total);
  say("step-text", progressText(job.total ? { ...job, done: $("bar").value, total: 1 } : job));
};

async function showExplanation(found, track, isStale) {
  // A song of the user has sources only once it has been taken apart.
  if (!track.sources.length && found.kind !== "time") {
    Object.assign(track, await get(`/api/tracks/own/${encodeURIComponent(track.id)}`));
  }
  if (isStale()) return;
  $("explanation").replaceChildren(...views.explanation(found, track, players));
  $("explanation").hidden = false;
  $("nothing-yet").hidden = true;
  say("status", "The explanation is ready.");
  const heading = $("step-5");
  heading.focus({ preventScroll: true });
  heading.scrollIntoView();
}

$("persona").addEventListener("change", () => {
  state.persona = $("persona").value;
  showProfile();
  showRecommendations();
});
for (const input of document.querySelectorAll("input[name=library]")) {
  input.addEventListener("change", () => {
    state.library = checked("library");
    $("own").hidden = state.library !== "own";
    showRecommendations();
  });
}
for (const input of document.querySelectorAll("input[name=type]")) {
  input.addEventListener("change", clearExplanation);
}
$("file").addEventListener("change", send);
$("compute").addEventListener("click", compute);
showProfile();
showRecommendations();
