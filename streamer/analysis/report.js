"use strict";
// The map of clips in the report: hover names a clip, a click plays it, lists filter. No library, no network.
(() => {
  const data = JSON.parse(document.getElementById("clips").textContent);
  const canvas = document.getElementById("map"), tip = document.getElementById("tip"), said = document.getElementById("said");
  const chosen = {}; // "projection", "colour", "label", "speaker", "corpus": the select elements
  for (const name of ["projection", "colour", "label", "speaker", "corpus"]) chosen[name] = document.getElementById(name);
  const search = document.getElementById("search"), legend = document.getElementById("legend");
  const hidden = new Set(); // names that were clicked away in the legend
  const player = new Audio();
  let marked = -1, hovered = -1, shown = [], places = []; // indices of clips; places on the canvas, [x, y] in CSS pixels
  const EDGE = { left: 64, right: 16, top: 16, bottom: 48 }, NEAR = 14;

  for (const what of ["label", "speaker", "corpus"]) {
    const names = [...new Set(data.clips.map((clip) => clip[what]))].sort();
    chosen[what].append(new Option(`all (${names.filter(Boolean).length})`, "*"));
    for (const name of names) chosen[what].append(new Option(name || "not known", name));
    chosen[what].parentElement.hidden = names.length < 2;
    if (names.length > 1) chosen.colour.append(new Option(what, what));
  }
  data.projections.forEach((one, index) => chosen.projection.append(new Option(one.name, index)));
  if (!chosen.colour.options.length) chosen.colour.append(new Option("nothing", "label"));

  const styles = () => { // name → [colour, shape]; the most frequent names, as many as can be told apart
    const counts = new Map();
    for (const clip of data.clips) {
      const name = clip[chosen.colour.value];
      if (name) counts.set(name, (counts.get(name) || 0) + 1);
    }
    const named = [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a)).slice(0, data.most).sort();
    const table = new Map(named.map((name, index) => {
      const turn = Math.floor(index / data.colours.length), colour = index % data.colours.length;
      return [name, { colour: data.colours[colour], shape: (colour + turn) % 8, count: counts.get(name) }];
    }));
    const others = data.clips.filter((clip) => !table.has(clip[chosen.colour.value])).length;
    if (others) table.set("", { colour: "#aaaaaa", shape: 0, count: others });
    return table;
  };
  const styleOf = (clip, table) => table.get(clip[chosen.colour.value]) || table.get("");
  const legendName = (clip, table) => (table.has(clip[chosen.colour.value]) ? clip[chosen.colour.value] : "");

  const passes = (clip, table) =>
    ["label", "speaker", "corpus"].every((what) => chosen[what].value === "*" || chosen[what].value === clip[what]) &&
    clip.name.toLowerCase().includes(search.value.toLowerCase()) && !hidden.has(legendName(clip, table));

  const mark = (context, x, y, size, shape) => { // one of eight shapes, so that colour is never alone
    const corners = [null, 4, 3, 4, 3, 5, 6, 8][shape], turn = [0, 45, -90, 0, 90, -90, 0, 22.5][shape];
    context.beginPath();
    if (corners === null) context.arc(x, y, size, 0, 7);
    else for (let corner = 0; corner < corners; corner += 1) {
      const angle = (turn + (360 * corner) / corners) * (Math.PI / 180);
      context.lineTo(x + 1.25 * size * Math.cos(angle), y + 1.25 * size * Math.sin(angle));
    }
    context.closePath();
    context.fill();
  };

  const ticks = (low, high) => { // round numbers, five or so
    const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough || 1));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough) || 1;
    const found = [];
    for (let at = Math.ceil(low / step) * step; at <= high; at += step) found.push(Number(at.toPrecision(6)));
    return found;
  };

  const draw = () => {
    const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const context = canvas.getContext("2d"), projection = data.projections[chosen.projection.value], table = styles();
    context.scale(ratio, ratio);
    const [xs, ys] = [0, 1].map((axis) => projection.points.map((point) => point[axis]));
    const span = (values) => {
      const low = Math.min(...[values.reduce((a, b) => Math.min(a, b))]), high = values.reduce((a, b) => Math.max(a, b));
      return [low - 0.04 * (high - low || 1), high + 0.04 * (high - low || 1)];
    };
    const [left, right] = span(xs), [low, high] = span(ys);
    const toX = (x) => EDGE.left + ((x - left) / (right - left)) * (width - EDGE.left - EDGE.right);
    const toY = (y) => height - EDGE.bottom - ((y - low) / (high - low)) * (height - EDGE.top - EDGE.bottom);
    context.font = "13px system-ui, sans-serif";
    context.strokeStyle = "#e3e3e3";
    context.fillStyle = "#444";
    context.textAlign = "center";
    for (const at of ticks(left, right)) {
      context.strokeRect(toX(at), EDGE.top, 0, height - EDGE.top - EDGE.bottom);
      if (projection.unit) context.fillText(at, toX(at), height - EDGE.bottom + 18);
    }
    context.textAlign = "right";
    for (const at of ticks(low, high)) {
      context.strokeRect(EDGE.left, toY(at), width - EDGE.left - EDGE.right, 0);
      if (projection.unit) context.fillText(at, EDGE.left - 8, toY(at) + 4);
    }
    context.textAlign = "center";
    context.fillText(projection.axes[0], (width + EDGE.left) / 2, height - 10);
    context.save();
    context.rotate(-Math.PI / 2);
    context.fillText(projection.axes[1], -(height - EDGE.bottom) / 2, 16);
    context.restore();
    shown = data.order.filter((index) => passes(data.clips[index], table));
    places = shown.map((index) => [toX(xs[index]), toY(ys[index])]);
    const size = Math.max(2.5, Math.min(6, 60 / Math.sqrt(shown.length + 1)));
    context.globalAlpha = 0.8;
    shown.forEach((index, place) => {
      const style = styleOf(data.clips[index], table);
      context.fillStyle = style.colour;
      mark(context, ...places[place], size, style.shape);
    });
    context.globalAlpha = 1;
    for (const [index, ink] of [[marked, "#000"], [hovered, "#555"]]) {
      const place = shown.indexOf(index);
      if (place < 0) continue;
      context.strokeStyle = ink;
      context.lineWidth = 2;
      context.beginPath();
      context.arc(...places[place], size + 5, 0, 7);
      context.stroke();
    }
    document.getElementById("count").textContent = `${shown.length} of ${data.clips.length} clips shown`;
    return table;
  };

  const swatch = (style) => {
    const picture = document.createElement("canvas"), context = picture.getContext("2d");
    picture.width = picture.height = 16;
    context.fillStyle = style.colour;
    mark(context, 8, 8, 5, style.shape);
    return picture;
  };

  const drawAll = () => {
    const table = draw();
    legend.replaceChildren(...[...table].map(([name, style]) => {
      const button = document.createElement("button");
      button.append(swatch(style), ` ${name || "not known, or others"} (${style.count})`);
      button.setAttribute("aria-pressed", String(!hidden.has(name)));
      button.addEventListener("click", () => {
        if (!hidden.delete(name)) hidden.add(name);
        drawAll();
      });
      return button;
    }));
  };

  const nearest = (event) => {
    const box = canvas.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    let best = -1, least = NEAR * NEAR;
    places.forEach((place, index) => {
      const far = (place[0] - x) ** 2 + (place[1] - y) ** 2;
      if (far <= least) [least, best] = [far, index];
    });
    return best < 0 ? -1 : shown[best];
  };

  const describe = (clip) => {
    const facts = [clip.label || "no label", clip.speaker && `speaker ${clip.speaker}`, clip.corpus, `${clip.seconds} s`];
    if (clip.predicted) facts.push(`the probe says ${clip.predicted}`);
    return facts.filter(Boolean).join(" · ");
  };

  const play = (index) => {
    const clip = data.clips[index];
    marked = index;
    draw();
    if (!clip.src) {
      said.textContent = `${clip.name}: where the file lies is not known; embed it again to play it here.`;
      return;
    }
    said.textContent = `${clip.name}: ${describe(clip)}`;
    player.src = clip.src;
    player.play().catch(() => {
      said.textContent = `${clip.name} cannot be played: the file is no longer at ${decodeURI(clip.src)}, ` +
        "or this browser does not play its format.";
    });
  };

  canvas.addEventListener("mousemove", (event) => {
    const index = nearest(event);
    if (index !== hovered) {
      hovered = index;
      draw();
    }
    tip.hidden = index < 0;
    if (index < 0) return;
    const name = document.createElement("strong");
    name.textContent = data.clips[index].name;
    tip.replaceChildren(name, document.createElement("br"), describe(data.clips[index]));
    tip.style.left = `${Math.min(event.pageX + 14, window.innerWidth - 340)}px`;
    tip.style.top = `${event.pageY + 14}px`;
  });
  canvas.addEventListener("mouseleave", () => {
    hovered = -1;
    tip.hidden = true;
    draw();
  });
  canvas.addEventListener("click", (event) => {
    const index = nearest(event);
    if (index >= 0) play(index);
  });
  for (const row of document.querySelectorAll("[data-clip]")) {
    row.addEventListener("click", () => play(Number(row.dataset.clip)));
    row.addEventListener("keydown", (event) => {
      if (event.key === "Enter") play(Number(row.dataset.clip));
    });
  }
  for (const name of Object.keys(chosen)) chosen[name].addEventListener("change", () => {
    if (name === "colour") hidden.clear();
    drawAll();
  });
  search.addEventListener("input", drawAll);
  window.addEventListener("resize", draw);
  drawAll();
})();
