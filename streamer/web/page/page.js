// The page: takes server-sent events, keeps the past, and draws what changed. It sends nothing.

import { colours, drawTimeline } from "./drawing.js";
import { microphoneButton } from "./microphone.js";

const SPANS = [["2 min", 120], ["10 min", 600], ["1 h", 3600], ["1 day", 86400]];
const FLOOR_DBFS = -72, HOT_DBFS = -6, STALE_MS = 4000, JOINED_S = 2.5;
const SKIPPED_S = 15; // between two states of a recording that is read fast
const GOOD = ["live"], WARN = ["no signal", "behind"], BAD = ["no device", "mic lost", "source lost"];
const IDLE = { starting: "starting …", warming: "listening …", paused: "muted", ended: "ended", "no signal": "no signal",
  "no device": "no microphone", "mic lost": "microphone lost", "source lost": "nothing arrives" };
const MARKS = { emotion: "●", device: "◆", broker: "⇄", loss: "┊", note: "·" };

const query = new URLSearchParams(location.search);
const at = (id) => document.getElementById(id);
const page = { state: null, run: null, past: {}, stream: query.get("stream"), spanS: 600, cursor: null, heardMs: 0, log: [] };

if (query.get("overlay") === "1") document.documentElement.classList.add("overlay");
if (["dark", "light"].includes(query.get("theme"))) document.documentElement.classList.add(query.get("theme"));

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function connect() {
  const source = new EventSource("events");
  source.onmessage = (event) => take(JSON.parse(event.data));
  source.addEventListener("log", (event) => { page.log = JSON.parse(event.data); drawLog(); });
  source.onerror = () => {
    draw();
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 2000); // refused: it does not try again by itself
  };
}

function take(state) {
  page.heardMs = Date.now();
  if (state.run !== page.run) { // the first state, or another program behind the same address
    page.run = state.run;
    page.past = {};
    page.shiftS = Date.now() / 1000 - state.time;
    loadPast();
  }
  page.state = state;
  for (const stream of state.streams) append(stream, stream.now, stream.now > state.time ? SKIPPED_S : JOINED_S);
  draw();
}

// The past of before this page was opened; what it has heard since then follows it.
async function loadPast() {
  const run = page.run;
  try {
    const answer = await (await fetch("past")).json();
    if (answer.run !== page.run) return;
    for (const [name, past] of Object.entries(answer.streams)) {
      const mine = page.past[name];
      const until = past.spans.length ? past.spans[past.spans.length - 1][1] : 0;
      if (mine) past.spans.push(...mine.spans.filter((span) => span[1] > until));
      page.past[name] = Object.assign(past, { seq: mine ? mine.seq : null });
    }
    draw();
  } catch {
    setTimeout(() => page.run === run && loadPast(), 3000);
  }
}

function append(stream, now, hole) {
  const past = (page.past[stream.name] ||= { since: now, spans: [], lost: [], seq: null });
  if (stream.seq !== past.seq && stream.lost) past.lost.push(now);
  past.seq = stream.seq;
  if (!stream.label) return;
  const last = past.spans[past.spans.length - 1];
  if (last && last[2] === stream.label && now - last[1] < hole && now - last[0] < 60) {
    last[3] += (stream.confidence - last[3]) * Math.min(1, (now - last[1]) / Math.max(0.1, now - last[0]));
    last[1] = now;
  } else {
    past.spans.push([now, now, stream.label, stream.confidence ?? 1]);
  }
  if (past.spans.length > 40000) past.spans.splice(0, 10000);
}

function chosen() {
  const streams = page.state ? page.state.streams : [];
  const named = (name) => name === page.stream || name.endsWith("/" + page.stream);
  return streams.find((stream) => named(stream.name)) || streams[0] || null;
}

let due = false;
function draw() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => { due = false; drawNow(); });
}

function drawNow() {
  const stale = Date.now() - page.heardMs > STALE_MS;
  const stream = chosen(), labels = page.state ? page.state.labels : [];
  drawNotice(stale, stream);
  document.body.classList.toggle("stale", stale);
  if (!stream) return setText(at("label"), page.state ? "waiting for a monitor …" : "…");
  drawTabs(stream);
  drawStatus(stream, stale);
  drawHeadline(stream, labels);
  drawLevel(stream.level);
  drawBars(stream, labels);
  drawPast(stream, labels);
  drawHealth(stream);
  microphoneButton(at("microphone"), stream);
}

function drawNotice(stale, stream) {
  const broker = page.state && page.state.broker;
  let text = "";
  if (stale) text = page.heardMs ? "The monitor does not answer; this goes on by itself when it is back." : "Connecting …";
  else if (broker && broker.status === "offline") text = `broker: ${broker.detail || "offline"}`;
  else if (stream && [...WARN, ...BAD].includes(stream.status)) text = stream.detail;
  setText(at("notice"), text);
  at("notice").hidden = !text;
}

function drawTabs(stream) {
  const nav = at("streams"), streams = page.state.streams;
  while (nav.children.length > streams.length) nav.lastChild.remove();
  const inks = colours(page.state.labels.length);
  streams.forEach((one, index) => {
    let tab = nav.children[index];
    if (!tab) {
      tab = nav.appendChild(document.createElement("button"));
      tab.type = "button";
      tab.append(Object.assign(document.createElement("span"), { className: "dot" }), document.createElement("span"));
      tab.onclick = () => { page.stream = tab.dataset.name; draw(); };
    }
    tab.dataset.name = one.name;
    setText(tab.lastChild, one.label && streams.length > 1 ? `${one.name} · ${one.label}` : one.name);
    tab.firstChild.style.setProperty("--ink", inks[page.state.labels.indexOf(one.label)] || "var(--line)");
    tab.setAttribute("aria-pressed", String(one === stream));
  });
}

function drawStatus(stream, stale) {
  const pill = at("status");
  setText(pill, stale ? "no new data" : stream.status);
  const kind = stale || BAD.includes(stream.status) ? "bad" : WARN.includes(stream.status) ? "warn" : GOOD.includes(stream.status) ? "good" : "";
  pill.className = `pill ${kind}`;
}

function drawHeadline(stream, labels) {
  const head = at("label"), now = page.state.time;
  const index = labels.indexOf(stream.label), solid = stream.label && !stream.held;
  head.style.setProperty("--ink", solid ? `var(--l${index % 8})` : "var(--line)");
  head.classList.toggle("weak", !solid);
  let text = "no emotion is clear enough", below = "";
  if (solid) {
    text = stream.label;
    below = `${stream.confidence === null ? "" : stream.confidence.toFixed(2) + " · "}for ${lasting(now - stream.since)}`;
  } else if (IDLE[stream.status]) {
    text = IDLE[stream.status];
  } else if (stream.status === "silence") {
    text = "no speech";
    below = stream.held ? `${stream.label} held from before, for ${lasting(now - stream.since)}` : "";
  } else if (stream.leaning) {
    text = `leaning ${stream.leaning}`;
    below = stream.leaning_confidence === null ? "not sure enough" : `${stream.leaning_confidence.toFixed(2)}, not sure enough`;
  }
  setText(head, text);
  setText(at("lasting"), below);
  const quiet = [...WARN, ...BAD].includes(stream.status) ? "" : stream.detail;
  setText(at("device"), [stream.device, quiet].filter(Boolean).join(" · "));
  document.title = `${stream.label || stream.status} · streamer`;
}

function drawLevel(level) {
  const place = (dbfs) => Math.min(1, Math.max(0, 1 - dbfs / FLOOR_DBFS));
  at("rms").style.transform = `scaleX(${level ? place(level.rms) : 0})`;
  at("peak").style.transform = `scaleX(${level ? place(level.peak) : 0})`;
  for (const id of ["hold", "noise"]) {
    const there = level && level[id] !== undefined;
    at(id).style.opacity = there ? 0.8 : 0;
    if (there) at(id).style.left = `calc(${place(level[id]) * 100}% - 1px)`;
  }
  at("rms").parentElement.classList.toggle("hot", Boolean(level && level.peak > HOT_DBFS));
  setText(at("dbfs"), level ? `${level.rms.toFixed(0)} dBFS, peak ${level.peak.toFixed(0)}` : "");
  setText(at("clipped"), level && level.clipped ? `clipped ${level.clipped}` : "");
}

function drawBars(stream, labels) {
  const list = at("bars");
  if (list.dataset.labels !== labels.join()) {
    list.dataset.labels = labels.join();
    list.replaceChildren(...labels.map((label, index) => {
      const row = document.createElement("li"), track = document.createElement("span");
      row.style.setProperty("--ink", `var(--l${index % 8})`);
      track.className = "track";
      track.append(document.createElement("i"), document.createElement("b"));
      row.append(Object.assign(document.createElement("span"), { textContent: label }), track, document.createElement("output"));
      return row;
    }));
  }
  labels.forEach((label, index) => {
    const row = list.children[index], bar = row.children[1].firstChild, tick = row.children[1].lastChild;
    const value = stream.probs ? stream.probs[label] ?? 0 : null, raw = stream.raw ? stream.raw[label] : null;
    bar.style.transform = `scaleX(${value ?? 0})`;
    tick.hidden = raw === null || raw === undefined;
    if (!tick.hidden) tick.style.left = `${Math.min(1, raw) * 100}%`;
    setText(row.lastChild, value === null ? "–" : value.toFixed(2));
    row.classList.toggle("current", label === stream.label && !stream.held);
    row.classList.toggle("held", label === stream.label && stream.held);
  });
}

function drawPast(stream, labels) {
  const past = page.past[stream.name] || { spans: [], lost: [], since: stream.now };
  const now = stream.now;
  const moment = drawTimeline(at("timeline"), past, labels, now, page.spanS, page.cursor);
  let under = "";
  if (moment !== null) {
    const held = past.spans.filter((span) => span[0] <= moment && moment <= span[1] + 0.2).map((span) => `${span[2]} ${span[3].toFixed(2)}`);
    under = `${clock(moment)} ${held.join(", ") || "no emotion"}`;
  }
  setText(at("under"), under);
  const since = Math.max(now - page.spanS, past.since), whole = Math.max(1, now - since), held = new Map();
  let changes = 0;
  for (const [start, end, label] of past.spans) {
    if (end <= since) continue;
    held.set(label, (held.get(label) || 0) + end - Math.max(since, start));
    changes += start >= since;
  }
  const shares = labels.filter((label) => held.get(label) / whole >= 0.005).map((label) => `${label} ${Math.round((100 * held.get(label)) / whole)} %`);
  const element = at("shares");
  if (element.dataset.text !== shares.join()) {
    element.dataset.text = shares.join();
    element.replaceChildren(...shares.map((share) => Object.assign(document.createElement("span"), { textContent: share })));
  }
}

function drawLog() {
  at("log").replaceChildren(...page.log.toReversed().map((line) => {
    const row = document.createElement("li");
    const time = Object.assign(document.createElement("time"), { textContent: clock(line.time) });
    const mark = Object.assign(document.createElement("em"), { textContent: MARKS[line.kind] || "·" });
    const many = page.state && page.state.streams.length > 1 && line.stream ? `${line.stream} ` : "";
    row.append(time, mark, Object.assign(document.createElement("span"), { textContent: many + line.text + (line.count > 1 ? ` ×${line.count}` : "") }));
    return row;
  }));
}

function drawHealth(stream) {
  const parts = [];
  if (page.state.model) parts.push(page.state.model);
  if (stream.latency_ms !== null) parts.push(`latency ${Math.round(stream.latency_ms)} ms`);
  if (stream.losses) parts.push(`lost: overflow ${stream.losses[0]}, dropped ${stream.losses[1]}, skipped ${stream.losses[2]}`);
  setText(at("health"), parts.join(" · "));
}

function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString([], { hour12: false });
}

function lasting(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  return whole < 3600 ? `${Math.floor(whole / 60)} min` : `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

for (const [name, seconds] of SPANS) {
  const button = at("spans").appendChild(document.createElement("button"));
  Object.assign(button, { type: "button", textContent: name });
  button.onclick = () => {
    page.spanS = seconds;
    for (const other of at("spans").children) other.setAttribute("aria-pressed", String(other === button));
    draw();
  };
  button.setAttribute("aria-pressed", String(seconds === page.spanS));
}
at("timeline").addEventListener("pointermove", (event) => { page.cursor = event.offsetX; draw(); });
at("timeline").addEventListener("pointerleave", () => { page.cursor = null; draw(); });
window.addEventListener("resize", draw);
setInterval(draw, 1000); // so that silence of the monitor is seen
connect();
