// Dots and names over a picture: where they go, and how they become SVG or pixels.

const RADIUS = 5; // of a dot, in pixels of the screen
const LETTERS = 12.5; // height of names
const OUTLINE = "#0c0c0c";
const NS = "http://www.w3.org/2000/svg";
const pen = document.createElement("canvas").getContext("2d");

// A name for each point, where there is room off the dots and the other names; null where there is no room.
// Points are {x, y, text, active}; unit is the length of a screen's pixel in pixels of the picture.
function placeNames(points, width, height, unit) {
  pen.font = `600 ${LETTERS}px system-ui, sans-serif`;
  const reach = 1.3 * RADIUS * unit;
  const taken = points.map(({ x, y }) => [x - reach, y - reach, x + reach, y + reach]);
  const order = points.map((_, index) => index).sort((a, b) => points[b].active - points[a].active || points[a].y - points[b].y);
  const places = points.map(() => null);
  for (const index of order) {
    const { x, y, text, active } = points[index];
    const w = (pen.measureText(text).width + 4) * unit;
    const h = (LETTERS + 2) * unit;
    const near = (RADIUS + 3) * unit;
    const corners = [];
    for (const far of [near, near + h * 0.9]) {
      corners.push([x + far, y - h / 2], [x - far - w, y - h / 2], [x - w / 2, y - far - h], [x - w / 2, y + far]);
      corners.push([x + far * 0.7, y - far * 0.7 - h], [x - far * 0.7 - w, y - far * 0.7 - h]);
      corners.push([x + far * 0.7, y + far * 0.7], [x - far * 0.7 - w, y + far * 0.7]);
    }
    const inside = corners.filter(([l, t]) => l >= 0 && t >= 0 && l + w <= width && t + h <= height);
    const isFree = ([l, t]) => taken.every(([a, b, c, d]) => l >= c || l + w <= a || t >= d || t + h <= b);
    const corner = inside.find(isFree) ?? (active ? (inside[0] ?? corners[0]) : null);
    if (corner) {
      taken.push([corner[0], corner[1], corner[0] + w, corner[1] + h]);
      places[index] = { x: corner[0] + 2 * unit, y: corner[1] + h * 0.8 };
    }
  }
  return places;
}

function element(name, attributes, parent) {
  const out = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) out.setAttribute(key, value);
  return parent.appendChild(out);
}

// Fills an SVG. Points are {index, x, y, colour, text, active, hollow}; hollow ones, which are hidden, become rings.
export function drawSvg(svg, points, width, height, unit, withNames) {
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("preserveAspectRatio", "none");
  const places = placeNames(points, width, height, unit);
  const rank = ({ active, hollow }) => (active ? 1 : 0) - (hollow ? 1 : 0);
  const byRank = points.map((_, index) => index).sort((a, b) => rank(points[a]) - rank(points[b]));
  for (const index of byRank) {
    const { x, y, colour, active, hollow } = points[index];
    const group = element("g", { class: "point", "data-index": points[index].index }, svg);
    element("circle", { cx: x, cy: y, r: 2.6 * RADIUS * unit, fill: "transparent" }, group);
    if (active) element("circle", { cx: x, cy: y, r: 2.1 * RADIUS * unit, fill: "none", stroke: "#fff", "stroke-width": 2.5 * unit }, group);
    if (hollow) ring(x, y, colour, unit, group);
    else element("circle", { cx: x, cy: y, r: RADIUS * unit, fill: colour, stroke: OUTLINE, "stroke-width": 1.6 * unit }, group);
  }
  for (const index of byRank) {
    const at = places[index];
    if (!at || !(withNames || points[index].active)) continue;
    const text = element("text", { ...at, "font-size": LETTERS * unit, "font-weight": 600, "stroke-width": 3 * unit }, svg);
    text.textContent = points[index].text;
  }
}

function ring(cx, cy, colour, unit, parent) {
  for (const [stroke, width] of [[OUTLINE, 3.6], [colour, 2]]) {
    element("circle", { cx, cy, r: 0.75 * RADIUS * unit, fill: "none", stroke, "stroke-width": width * unit }, parent);
  }
}

// A canvas with the picture, the points and a legend of the colours. Meridians are {name, colour}.
export function drawCanvas(image, points, width, height, withNames, meridians, notice) {
  const factor = Math.min(1, 4096 / Math.max(width, height));
  const canvas = document.createElement("canvas");
  const [w, h] = [Math.round(width * factor), Math.round(height * factor)];
  const unit = Math.max(w, h) / 900;
  const line = 24 * unit;
  const strip = wrapped(meridians, w, unit);
  canvas.width = w;
  canvas.height = h + line * (strip.rows + 1);
  const to = canvas.getContext("2d");
  to.fillStyle = "#000";
  to.fillRect(0, 0, canvas.width, canvas.height);
  to.drawImage(image, 0, 0, w, h);
  const scaled = points.map((point) => ({ ...point, x: point.x * factor, y: point.y * factor, active: false }));
  const places = placeNames(scaled, w, h, unit);
  const dot = (x, y, colour, hollow = false) => {
    to.beginPath();
    to.arc(x, y, (hollow ? 0.75 : 1) * RADIUS * unit, 0, 7);
    to.fillStyle = colour;
    if (!hollow) to.fill();
    for (const [stroke, wide] of hollow ? [[OUTLINE, 3.6], [colour, 2]] : [[OUTLINE, 1.6]]) {
      to.strokeStyle = stroke;
      to.lineWidth = wide * unit;
      to.stroke();
    }
  };
  const write = (text, x, y) => {
    to.font = `600 ${LETTERS * unit}px system-ui, sans-serif`;
    to.lineJoin = "round";
    to.strokeStyle = OUTLINE;
    to.lineWidth = 3 * unit;
    to.strokeText(text, x, y);
    to.fillStyle = "#f3f3f3";
    to.fillText(text, x, y);
  };
  for (const { x, y, colour } of scaled.filter((point) => point.hollow)) dot(x, y, colour, true);
  for (const { x, y, colour } of scaled.filter((point) => !point.hollow)) dot(x, y, colour);
  if (withNames) scaled.forEach(({ text }, index) => places[index] && write(text, places[index].x, places[index].y));
  for (const { name, colour, x, row } of strip.entries) {
    const y = h + line * (row + 0.5);
    dot(x + 8 * unit, y, colour);
    write(name, x + 18 * unit, y + 4.5 * unit);
  }
  write(notice, 8 * unit, h + line * (strip.rows + 0.5) + 4.5 * unit);
  return canvas;
}

function wrapped(meridians, width, unit) {
  pen.font = `600 ${LETTERS}px system-ui, sans-serif`;
  const entries = [];
  let x = 0;
  let row = 0;
  for (const { name, colour } of meridians) {
    const wide = (pen.measureText(name).width + 32) * unit;
    if (x && x + wide > width) [x, row] = [0, row + 1];
    entries.push({ name, colour, x, row });
    x += wide;
  }
  return { entries, rows: entries.length ? row + 1 : 0 };
}
