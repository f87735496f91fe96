// The parts of the page that are made of what the server said.

import { h, seconds, signed } from "/static/dom.js";
import { Player, playOnce } from "/static/player.js";

const percent = (value) => `${Math.round(value * 100)} %`;

const fact = (value, what) => h("div", {}, h("dt", {}, what), h("dd", {}, String(value)));

export const profile = (listener) => [
  h("span", { class: "avatar", "aria-hidden": "true" }, [...listener.name][0] ?? "?"),
  h("div", {},
    h("h3", {}, listener.name),
    h("blockquote", {}, listener.taste),
    h("dl", { class: "facts" }, fact(listener.num_tracks, "tracks"),
      fact(listener.num_plays, "plays")),
    h("ul", { class: "styles", "aria-label": "Most played styles" },
      listener.styles.map(({ style, share }) =>
        h("li", {}, style, " ", h("small", {}, percent(share))))),
    h("details", { class: "rule" }, h("summary", {}, "The rule behind this simulated listener"),
      h("p", { class: "note" }, listener.rule))),
];

const COLUMNS = [
  ["title", "Title", ""], ["artist", "Artist", ""], ["album", "Album", "wide"],
  ["style", "Style", "wide"], ["plays", "Plays", "quantity"],
];

const compare = (a, b) =>
  typeof a === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });

// A table whose columns sort by a button; most plays come first.
export const plays = (table, tracks) => {
  const body = h("tbody");
  const heads = COLUMNS.map(([name, text, look]) => {
    const head = h("th", { scope: "col", class: look },
      h("button", { type: "button", onclick: () => sort(name, head) }, text));
    return head;
  });
  const draw = (rows) => body.replaceChildren(...rows.map((track) =>
    h("tr", {}, COLUMNS.map(([name, , look], i) =>
      h(i ? "td" : "th", i ? { class: look } : { scope: "row" }, String(track[name]))))));
  const sort = (name, head) => {
    const isText = typeof tracks[0]?.[name] === "string";
    const before = head.getAttribute("aria-sort");
    const isUp = before ? before === "descending" : isText;
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", isUp ? "ascending" : "descending");
    const sorted = [...tracks].sort((a, b) => compare(a[name], b[name]));
    draw(isUp ? sorted : sorted.reverse());
  };
  table.replaceChildren(h("caption", { class: "unseen" }, "Listened tracks; headings sort"),
    h("thead", {}, h("tr", {}, heads)), body);
  sort("plays", heads.at(-1));
};

export const recommendations = (table, tracks, chosen, choose) => {
  const row = (track) => {
    const input = h("input", { type: "radio", name: "track", value: track.id, autocomplete: "off",
      checked: track.id === chosen, onchange: () => choose(track.id) });
    const heard = track.plays ? h("small", {}, ` played ${track.plays}×`) : null;
    return h("tr", { onclick: (event) => event.target.closest("label") ?? input.click() },
      h("td", { class: "quantity" }, String(track.rank)),
      h("th", { scope: "row" }, h("label", {}, input, h("span", {}, track.title, heard))),
      h("td", {}, track.artist), h("td", { class: "wide" }, track.style),
      h("td", { class: "quantity" },
        h("span", { class: "level", "--share": `${100 * track.relevance}%`, "aria-hidden": "true" }),
        track.relevance.toFixed(2)));
  };
  table.replaceChildren(
    h("caption", {}, `The ${tracks.length} most relevant songs of this library`),
    h("thead", {}, h("tr", {}, h("th", { scope: "col", class: "quantity" }, "#"),
      h("th", { scope: "col" }, "Song"), h("th", { scope: "col" }, "Artist"),
      h("th", { scope: "col", class: "wide" }, "Style"),
      h("th", { scope: "col", class: "quantity" }, "Relevance"))),
    h("tbody", {}, tracks.map(row)));
};

export const song = (track, relevance) => {
  const player = new Player({
    label: track.title, duration: track.duration, choices: [{ label: "Song", sound: track.sound }],
    rows: [{ name: null, outline: track.outline, parts: [] }],
  });
  const badge = h("span", { class: "badge", id: "relevance" });
  showRelevance(badge, relevance);
  const by = [track.artist, track.style].filter(Boolean).join(" · ");
  const head = h("div", { class: "title" },
    h("div", {}, h("h3", {}, track.title), by ? h("p", {}, by) : null), badge);
  return { player, badge, content: [head, player.element] };
};

export const showRelevance = (badge, relevance) => {
  badge.textContent =
    relevance === null ? "Relevance: being computed" : `Relevance ${relevance.toFixed(2)}`;
};

const fidelity = (explanation) => {
  const { grade, reading } = explanation;
  const bars = [0, 1, 2, 3, 4].map((i) => h("i", { class: grade !== null && i <= grade ? "on" : "" }));
  const value = explanation.fidelity === null ? "undefined"
    : explanation.fidelity.toFixed(2).replace("-", "−");
  return h("div", { class: "fidelity" },
    h("span", { class: `badge grade-${grade ?? "none"}`, id: "fidelity" }, `Fidelity ${value}`,
      h("span", { class: "scale", "aria-hidden": "true" }, bars)),
    h("p", {}, reading));
};

const isSilent = ({ outline: { low, high } }) => Math.max(...high) - Math.min(...low) < 0.002;

const called = (source) => (isSilent(source) ? `${source.name}, silent` : source.name);

const rowsOf = (track, selection) => {
  const flags = new Map(selection.components.map((index, i) => [index, String(i + 1)]));
  const parts = selection.parts.map((one) => ({ ...one, flag: flags.get(one.index) }));
  if (!track.sources.length || parts.some((one) => one.source === null)) {
    return [{ name: null, outline: track.outline, parts }];
  }
  return track.sources.map((source) => ({ name: called(source), outline: source.outline,
    parts: parts.filter((one) => one.source === source.name) }));
};

// A player of some parts of a song, of the song, and of the song without them.
const heard = (track, selection, label) => {
  const { sounds } = selection;
  const player = new Player({
    label, duration: track.duration, rows: rowsOf(track, selection),
    choices: [
      { label: "This part", sound: sounds.part, range: [selection.start, selection.end] },
      { label: "Whole song", sound: track.sound },
      { label: "Without this part", sound: sounds.without },
    ],
  });
  const links = h("ul", { class: "links" },
    [["trimmed_wav", "WAV"], ["trimmed_mp3", "MP3"]].map(([name, text]) =>
      h("li", {}, h("a", { href: sounds[name], download: "" }, `Download ${label} as ${text}`))));
  return { player, content: [h("p", {}, selection.spoken), player.element,
    h("p", { class: "test" }, selection.counter_test), links] };
};

const card = (title, id, ...content) =>
  h("section", { class: "card", "aria-labelledby": id }, h("div", { class: "title" },
    h("h3", { id }, title)), content);

const instruments = (track, selections, players) => {
  const place = h("div");
  let player = null;
  const show = (name) => {
    player?.remove();
    players.delete(player);
    const selection = selections.find((one) => one.name === name);
    const shown = heard(track, selection, selection.title);
    player = shown.player;
    players.add(player);
    place.replaceChildren(...shown.content);
  };
  const weight = (one) => one.parts[0].coefficient;
  const strongest = selections.reduce((best, one) => (weight(one) > weight(best) ? one : best));
  const choice = h("select", { id: "instrument", onchange: () => show(choice.value) },
    selections.map((one) => h("option", { value: one.name, selected: one === strongest }, one.title)));
  show(strongest.name);
  return card("What one instrument adds", "instrument-title", h("div", { class: "query" },
    h("label", { class: "field", for: "instrument" }, "Instrument"), choice), place);
};

const time = ([start, end]) => `${seconds(start)}–${seconds(end)} s`;

// What sampling leaves open: the typical standard error of a weight.
const chance = (components) => {
  const errors = components.map((one) => one.std_error).sort((a, b) => a - b);
  const middle = errors[Math.floor(errors.length / 2)];
  return middle > 0 ? h("span", {}, `give or take ${middle.toFixed(3)} by chance`) : null;
};

const heat = (explanation, track, top) => {
  const { components, segments, sources, kind } = explanation;
  const largest = Math.max(1e-12, ...components.map((one) => Math.abs(one.coefficient)));
  const cell = (one) => {
    const weight = signed(one.coefficient), rank = top.indexOf(one.index);
    const side = { "+": "for", "−": "against" }[weight[0]] ?? "neither";
    const says = side === "neither" ? "hardly matters" : `speaks ${side} the song`;
    const words = `${one.source ?? "everything"}, ${time([one.start, one.end])}: ${weight}, ${
      says}${rank < 0 ? "" : `, number ${rank + 1}`}`;
    const button = h("button", { type: "button", "aria-pressed": "false", "aria-label":
      `${words}. Listen`, class: `${side}${rank < 0 ? "" : " ranked"}`,
      "--share": `${Math.round(55 * Math.abs(one.coefficient) / largest)}%`,
      onclick: () => playOnce(button,
        `/audio/explanations/${explanation.key}/component-${one.index}-trimmed.wav`) },
      weight);
    return h("td", {}, button);
  };
  const names = kind === "time" ? ["everything"] : sources;
  const of = (name) => components.filter((one) => (one.source ?? "everything") === name);
  const span = ([start, end]) => [`${seconds(start)}–${seconds(end)}`,
    h("span", { class: "unseen" }, " seconds")];
  const heading = kind === "source" ? ["throughout"] : segments.map(span);
  const known = Object.fromEntries(track.sources.map((source) => [source.name, called(source)]));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Weights" },
    h("table", { class: "heat", id: "heat" },
      h("caption", {}, "How much each part adds to the relevance. Press a part to hear it."),
      h("thead", {}, h("tr", {}, h("td", { "aria-hidden": "true" }, kind === "source" ? "" : "seconds"), heading.map((text) => h("th", { scope: "col" }, text)))),
      h("tbody", {}, names.map((name) =>
        h("tr", {}, h("th", { scope: "row" }, known[name] ?? name), of(name).map(cell))))),
    h("p", { class: "key" },
      h("span", {}, h("i", { class: "for" }), "+ speaks for the song"),
      h("span", {}, h("i", { class: "against" }), "− speaks against it"),
      h("span", {}, "framed: the Top 3"), chance(components)));
};

const summary = (explanation) => {
  const { listener, prediction } = explanation;
  const verdict = prediction < 0.5 ? "so it would not recommend the song" : "so it recommends the song";
  return h("p", {}, `For ${listener}, the recommender gives this song a relevance of ${
    prediction.toFixed(2)}, ${verdict}. `);
};

// Everything about one explanation; `players` collects what has to be silenced before the next.
export const explanation = (found, track, players) => {
  const named = Object.fromEntries(found.selections.map((one) => [one.name, one]));
  const cards = ["top", "top3"].filter((name) => named[name]).map((name) => {
    const { player, content } = heard(track, named[name], named[name].title);
    players.add(player);
    return card(named[name].title, `${name}-title`, content);
  });
  const none = h("p", { class: "warning" },
    found.status === "ok" ? "No part of this song speaks for it: no weight is positive."
      : "Which parts of this song speak for it could not be found out.");
  const queries = found.selections.filter((one) => one.name.startsWith("instrument-"));
  const cost = `${found.num_evaluations} variants of the song were judged in ${
    seconds(found.seconds)} seconds.`;
  return [summary(found), fidelity(found), ...(cards.length ? cards : [none]),
    ...(queries.length && found.kind === "time-source" ? [instruments(track, queries, players)] : []),
    card("All parts", "heat-title", heat(found, track, named.top3?.components ?? [])),
    h("p", { class: "note cost" }, cost),
    h("ul", { class: "links" }, h("li", {}, h("a", { href: found.record, download:
      `explanation-${found.kind}.json`, id: "json" }, "Download everything as JSON")))];
};
