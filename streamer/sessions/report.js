"use strict";
// Draws each part's days and a detail of them. Everything is text or a canvas: no markup is ever made of what is read.
const COLOURS = ["#67707c", "#1b84c0", "#c4b000", "#0b4f8f", "#b94a00", "#a4517e", "#007a5a", "#d08a00"];
const parts = JSON.parse(document.getElementById("data").textContent);
const tip = document.getElementById("tip");
const style = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const colour = label => COLOURS[label % COLOURS.length];
const clamp = (value, low, high) => Math.max(low, Math.min(high, value));

// The first span that ends after `time`: spans are in order and do not overlap.
function firstAfter(spans, time) {
  let low = 0, high = spans.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (spans[middle][0] + spans[middle][1] > time) high = middle; else low = middle + 1;
  }
  return low;
}

function clock(part, time) {
  const day = part.days.find(d => time >= d.from && time < d.to) || part.days[part.days.length - 1];
  let tick = day.ticks[0];
  for (const other of day.ticks) if (other[0] <= time) tick = other;
  const pieces = tick[1].split(":").map(Number), past = Math.max(0, Math.floor(time - tick[0]));
  const wall = pieces.length === 2;
  const seconds = (wall ? pieces[0] * 3600 + pieces[1] * 60 : pieces[0] * 3600 + pieces[1] * 60 + pieces[2]) + past;
  const two = number => String(number).padStart(2, "0");
  const text = `${wall ? two(Math.floor(seconds / 3600)) : Math.floor(seconds / 3600)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  return wall && part.days.length > 1 ? `${day.name} ${text}` : text;
}

function length(seconds) {
  if (seconds < 90) return `${seconds.toFixed(1)} s`;
  if (seconds < 5400) return `${(seconds / 60).toFixed(1)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

function prepare(canvas, height) {
  const scale = window.devicePixelRatio || 1, width = canvas.clientWidth;
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  pen.clearRect(0, 0, width, height);
  pen.font = "11px system-ui, sans-serif";
  pen.textBaseline = "middle";
  return [pen, width];
}

// Draws one stretch of time into a box: gaps and losses over `height`, and what `paint` does for each span.
function stretch(pen, part, box, from, to, paint) {
  const x = time => box.x + (clamp(time, from, to) - from) / (to - from) * box.width;
  pen.fillStyle = style("--line");
  for (const [start, duration] of part.gaps) {
    if (start < to && start + duration > from) pen.fillRect(x(start), box.y, Math.max(1, x(start + duration) - x(start)), box.height);
  }
  for (let index = firstAfter(part.spans, from); index < part.spans.length && part.spans[index][0] < to; index++) {
    const [start, duration, label] = part.spans[index];
    pen.fillStyle = colour(label);
    paint(x(start), Math.max(1, x(start + duration) - x(start)), label, part.spans[index]);
  }
  pen.fillStyle = style("--bad");
  for (const [time] of part.losses) if (time >= from && time < to) pen.fillRect(x(time), box.y, 1.5, box.height);
  return x;
}

function describe(part, time) {
  const lines = [clock(part, time)];
  const span = part.spans[firstAfter(part.spans, time)];
  const gap = part.gaps.find(g => time >= g[0] && time < g[0] + g[1]);
  if (span && span[0] <= time) lines.push(`${part.labels[span[2]]} up to ${(span[3] / 100).toFixed(2)}, ${length(span[1])}`);
  else lines.push(gap ? `${gap[2]}, ${length(gap[1])}` : "no emotion");
  const digit = part.speech[Math.floor((time - part.speech_from) / 60)];
  if (digit && digit !== " ") lines.push(`speech in this minute: ${digit}0 % or more`);
  const loss = part.losses.find(l => Math.abs(l[0] - time) < 5);
  if (loss) lines.push(`lost ${loss[1]} ms of audio`);
  return lines.join("\n");
}

function show(event, text) {
  tip.textContent = text;
  tip.style.display = text ? "block" : "none";
  tip.style.left = `${clamp(event.clientX + 14, 0, window.innerWidth - tip.offsetWidth - 8)}px`;
  tip.style.top = `${clamp(event.clientY + 16, 0, window.innerHeight - tip.offsetHeight - 8)}px`;
}

function start(section, part) {
  const overview = section.querySelector(".days"), detail = section.querySelector(".detail");
  const NAME = 118, ROW = 26, LANE = 20;
  const view = {from: 0, to: 1}, whole = {from: part.days[0].from, to: part.days[part.days.length - 1].to};
  reset();

  function reset() {
    view.from = Math.max(whole.from, 0);
    view.to = Math.max(view.from + 10, Math.min(part.length || 10, whole.to));
    if (view.to - view.from > 86400) view.from = view.to - 86400;
  }

  function drawOverview() {
    const [pen, width] = prepare(overview, part.days.length * ROW + 22);
    part.days.forEach((day, row) => {
      const box = {x: NAME, y: row * ROW + 4, width: width - NAME, height: ROW - 8};
      pen.fillStyle = style("--soft");
      pen.fillText(day.name, 6, box.y + box.height / 2);
      const x = stretch(pen, part, box, day.from, day.to, (left, wide) => pen.fillRect(left, box.y, wide, box.height));
      speech(pen, box, x, day);
      if (view.from < day.to && view.to > day.from) {
        pen.strokeStyle = style("--ink");
        pen.strokeRect(x(view.from) + .5, box.y - 2, Math.max(2, x(view.to) - x(view.from) - 1), box.height + 4);
      }
      if (row === part.days.length - 1) ticks(pen, day.ticks, x, box.y + box.height + 12, width);
    });
  }

  // A line under each row, as dark as the share of speech.
  function speech(pen, box, x, day) {
    const first = Math.max(0, Math.floor((day.from - part.speech_from) / 60)), each = Math.max(1, x(day.from + 60) - box.x);
    const last = Math.min(part.speech.length, Math.ceil((day.to - part.speech_from) / 60));
    pen.fillStyle = style("--ink");
    for (let minute = first; minute < last; minute++) {
      const share = Number(part.speech[minute]);
      if (part.speech[minute] === " " || !share) continue;
      pen.globalAlpha = .15 + .085 * share;
      pen.fillRect(x(part.speech_from + 60 * minute), box.y + box.height, each, 2.5);
    }
    pen.globalAlpha = 1;
  }

  function ticks(pen, marks, x, y, width) {
    pen.fillStyle = style("--soft");
    let free = 0;
    for (const [time, text] of marks) {
      const left = x(time), wide = pen.measureText(text).width;
      if (left >= free && left + wide < width) { pen.fillText(text, left, y); free = left + wide + 10; }
    }
  }

  function drawDetail() {
    const [pen, width] = prepare(detail, part.labels.length * LANE + 26);
    const box = {x: NAME, y: 4, width: width - NAME - 6, height: part.labels.length * LANE};
    const x = stretch(pen, part, box, view.from, view.to, (left, wide, label, span) => {
      const high = (LANE - 4) * Math.max(.25, span[3] / 100);
      pen.fillRect(left, box.y + (label + 1) * LANE - 2 - high, wide, high);
    });
    pen.fillStyle = style("--soft");
    part.labels.forEach((name, label) => pen.fillText(name, 6, box.y + label * LANE + LANE / 2));
    const marks = part.days.flatMap(day => day.ticks).filter(([time]) => time >= view.from && time <= view.to);
    ticks(pen, marks.length > 2 ? marks : finer(), x, box.y + box.height + 13, width);
  }

  function finer() {
    const step = [1, 2, 5, 10, 30, 60, 120, 300, 600, 1800].find(s => (view.to - view.from) / s < 12) || 3600;
    const marks = [];
    for (let time = Math.ceil(view.from / step) * step; time < view.to; time += step) {
      marks.push([time, clock(part, time).split(" ").pop()]);
    }
    return marks;
  }

  function draw() { drawOverview(); drawDetail(); }

  function look(from, to) {
    const span = clamp(to - from, 5, whole.to - whole.from);
    view.from = clamp(from, whole.from, whole.to - span);
    view.to = view.from + span;
    draw();
  }

  function overviewTime(event) {
    const row = clamp(Math.floor(event.offsetY / ROW), 0, part.days.length - 1), day = part.days[row];
    const share = clamp((event.offsetX - NAME) / (overview.clientWidth - NAME), 0, 1);
    return day.from + share * (day.to - day.from);
  }
  const detailTime = event => view.from + clamp((event.offsetX - NAME) / (detail.clientWidth - NAME - 6), 0, 1) * (view.to - view.from);

  let held = null;
  overview.addEventListener("pointerdown", event => { held = overviewTime(event); });
  overview.addEventListener("pointermove", event => {
    const time = overviewTime(event);
    show(event, describe(part, time));
    if (held !== null && event.buttons && Math.abs(time - held) > 5) look(Math.min(held, time), Math.max(held, time));
  });
  overview.addEventListener("pointerup", event => {
    const time = overviewTime(event);
    if (held !== null && Math.abs(time - held) <= 5) look(time - 1800, time + 1800);
    held = null;
  });
  let grip = null;
  detail.addEventListener("pointerdown", event => { grip = [event.offsetX, view.from, view.to]; detail.setPointerCapture(event.pointerId); });
  detail.addEventListener("pointerup", () => { grip = null; });
  detail.addEventListener("pointermove", event => {
    show(event, describe(part, detailTime(event)));
    if (grip && event.buttons) {
      const moved = (grip[0] - event.offsetX) / (detail.clientWidth - NAME) * (grip[2] - grip[1]);
      look(grip[1] + moved, grip[2] + moved);
    }
  });
  detail.addEventListener("wheel", event => {
    event.preventDefault();
    zoom(detailTime(event), event.deltaY > 0 ? 1.3 : 1 / 1.3);
  }, {passive: false});
  const zoom = (time, by) => look(time - (time - view.from) * by, time + (view.to - time) * by);
  detail.addEventListener("keydown", event => {
    const middle = (view.from + view.to) / 2, step = (view.to - view.from) / 5;
    const act = {
      "+": () => zoom(middle, 1 / 1.5), "-": () => zoom(middle, 1.5),
      ArrowLeft: () => look(view.from - step, view.to - step), ArrowRight: () => look(view.from + step, view.to + step),
    }[event.key];
    if (act) { event.preventDefault(); act(); }
  });
  section.querySelector(".closer").addEventListener("click", () => zoom((view.from + view.to) / 2, 1 / 2));
  section.querySelector(".wider").addEventListener("click", () => zoom((view.from + view.to) / 2, 2));
  section.querySelector(".whole").addEventListener("click", () => { reset(); draw(); });
  for (const canvas of [overview, detail]) canvas.addEventListener("pointerleave", event => { show(event, ""); held = null; });
  draw();
  new ResizeObserver(draw).observe(section);
  window.addEventListener("beforeprint", draw);
}

document.querySelectorAll("section[data-part]").forEach(section => start(section, parts[Number(section.dataset.part)]));
