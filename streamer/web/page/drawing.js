// Draws the timeline on a canvas: one lane a label, as high as the confidence, with lost audio and a cursor.

const NAME_PX = 84, NARROW_NAME_PX = 34, AXIS_PX = 20;

export function colours(count) {
  const style = getComputedStyle(document.documentElement);
  return Array.from({ length: count }, (_, index) => style.getPropertyValue(`--l${index % 8}`).trim());
}

// `past` has `spans` ([start, end, label, confidence]), `lost` (moments) and `since`; times are seconds since the epoch.
export function drawTimeline(canvas, past, labels, now, spanS, cursorX) {
  const scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  const style = getComputedStyle(document.documentElement);
  const [line, quiet, bad, text] = ["--line", "--quiet", "--bad", "--text"].map((name) => style.getPropertyValue(name));
  const left = width < 520 ? NARROW_NAME_PX : NAME_PX;
  const plot = { left, width: width - left, height: height - AXIS_PX };
  const lane = plot.height / Math.max(1, labels.length);
  const x = (time) => left + plot.width * (1 - (now - time) / spanS);
  context.font = "12px " + style.fontFamily;
  context.textBaseline = "middle";
  const inks = colours(labels.length);
  labels.forEach((label, index) => {
    const middle = (index + 0.5) * lane;
    context.fillStyle = quiet;
    context.fillText(left === NAME_PX ? label : label.slice(0, 3), 0, middle);
    context.fillStyle = line;
    context.fillRect(left, Math.round((index + 1) * lane) - 1, plot.width, 1);
  });
  for (const [start, end, label, confidence] of past.spans) {
    const index = labels.indexOf(label);
    if (end < now - spanS || index < 0) continue;
    const from = Math.max(left, x(start));
    const high = (lane - 5) * Math.max(0.25, confidence);
    context.fillStyle = inks[index];
    context.fillRect(from, (index + 1) * lane - 2 - high, Math.max(1.5, x(end) - from), high);
  }
  context.fillStyle = bad;
  for (const moment of past.lost) {
    if (moment >= now - spanS) for (let y = 0; y < plot.height; y += 6) context.fillRect(x(moment) - 0.5, y, 1, 3);
  }
  drawAxis(context, plot, now, spanS, quiet);
  if (cursorX !== null && cursorX >= left) {
    context.fillStyle = text;
    context.fillRect(Math.round(cursorX), 0, 1, plot.height);
    return now - (1 - (cursorX - left) / plot.width) * spanS;
  }
  return null;
}

function drawAxis(context, plot, now, spanS, ink) {
  const steps = [10, 30, 60, 120, 300, 600, 1200, 3600, 7200, 14400, 21600];
  const step = steps.find((one) => (one / spanS) * plot.width >= 76) || spanS;
  context.fillStyle = ink;
  for (let age = 0; age <= spanS * 0.98; age += step) {
    const label = age === 0 ? "now" : ageText(age);
    const middle = plot.left + plot.width * (1 - age / spanS);
    const room = context.measureText(label).width;
    const start = Math.min(middle - room / 2, plot.left + plot.width - room);
    if (start >= plot.left - 8) context.fillText(label, start, plot.height + AXIS_PX / 2 + 2);
  }
}

function ageText(seconds) {
  if (seconds < 60) return `−${seconds} s`;
  if (seconds < 3600) {
    const rest = seconds % 60;
    return rest ? `−${Math.floor(seconds / 60)}:${String(rest).padStart(2, "0")}` : `−${seconds / 60} min`;
  }
  return `−${Math.round(seconds / 360) / 10} h`;
}
