"use strict";
const facts = JSON.parse(document.getElementById("facts").textContent);
const $ = (id) => document.getElementById(id);
const POLL = 250, HOVER = 60, SLIDE = 120, SHOWN = 6; // milliseconds; classes in the table
let file = null, look = null, at = null, latest = 0;

const say = (words, isWrong = false) => {
  $("status").textContent = words;
  $("status").classList.toggle("wrong", isWrong);
};
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const percent = (x) => `${(100 * x).toFixed(1)} %`;

async function ask(address, options) {
  let answer;
  try {
    answer = await fetch(address, options);
  } catch {
    throw new Error("The server does not answer; is `explore` still running?");
  }
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(said.error || `The server answers ${answer.status}.`);
  return said;
}

const boxes = () => [...document.querySelectorAll("#scales input")];

// Some methods take no scales, or exactly those of the training.
function offerScales() {
  const fixed = facts.fixed_scales[$("method").value];
  if (fixed) for (const box of boxes()) box.checked = fixed.includes(Number(box.value));
  $("scales").disabled = Boolean(fixed) || $("method").value === "single";
}

function protocol() {
  const method = $("method").value;
  if (method === "single") return method;
  const scales = boxes().filter((x) => x.checked).map((x) => x.value);
  if (scales.length < 2) throw new Error(`Tick another scale beside 1: ${method} combines several. The method single takes scale 1 alone.`);
  return `${method}:${scales.join(",")}`;
}

async function start() {
  if (!file) return;
  const mine = ++latest;
  $("again").disabled = false;
  say("Handing in ...");
  try {
    if (file.size > facts.most_bytes) {
      throw new Error(`${file.name} has ${(file.size / 2 ** 20).toFixed(1)} MiB; expected at most ${facts.most_bytes / 2 ** 20}.`);
    }
    const query = new URLSearchParams({ protocol: protocol(), flip: $("flip").checked ? "1" : "0", name: file.name });
    const { number } = await ask(`looks?${query}`, { method: "POST", body: file });
    for (;;) {
      const state = await ask(`looks/${number}`);
      if (mine !== latest) return;
      if (state.state === "failed" || state.state === "gone") throw new Error(state.message);
      if (state.state === "done") return show(number, state);
      say(state.message || "Looking ...");
      await pause(POLL);
    }
  } catch (error) {
    if (mine === latest) say(error.message, true);
  }
}

function show(number, state) {
  look = { number, ...state };
  say(`${state.name}: ${state.columns} x ${state.rows} pixels by ${state.protocol} in ${state.seconds.toFixed(1)} s.`);
  $("result").hidden = false;
  const chosen = $("layer").value;
  const layers = [["prediction", "prediction"]];
  for (const scale of state.scales) layers.push([`scale-${scale}`, `prediction of scale ${scale}`]);
  if (state.has_shares) for (const scale of state.scales) layers.push([`share-${scale}`, `share of scale ${scale}, white is 1`]);
  $("layer").replaceChildren(...layers.map(([value, words]) => new Option(words, value)));
  if (layers.some(([value]) => value === chosen)) $("layer").value = chosen;
  $("image").src = `looks/${number}/image.png`;
  $("image").alt = `The picture ${state.name}`;
  $("weights").hidden = !state.has_shares || state.scales.length < 2;
  $("sliders").replaceChildren(...state.scales.map(slider));
  at = null;
  $("cross").hidden = $("pixel").hidden = true;
  paint();
}

function slider(scale) {
  const label = document.createElement("label");
  const input = Object.assign(document.createElement("input"), { type: "range", min: 0, max: 3, step: 0.1, value: 1 });
  const output = document.createElement("output");
  output.textContent = "1";
  input.dataset.scale = scale;
  input.addEventListener("input", () => {
    output.textContent = input.value;
    slid();
  });
  label.append(`Scale ${scale} x `, output, input);
  return label;
}

function weights() {
  const all = [...document.querySelectorAll("#sliders input")];
  if (all.every((x) => Number(x.value) === 1)) return "";
  return JSON.stringify(Object.fromEntries(all.map((x) => [x.dataset.scale, Number(x.value)])));
}

function paint() {
  if (!look) return;
  const layer = $("layer").value, by_hand = weights();
  const query = by_hand ? `?${new URLSearchParams({ weights: by_hand })}` : "";
  const none = by_hand && !Object.values(JSON.parse(by_hand)).some(Boolean);
  if (none) return say("One weight at least has to be above 0.", true);
  $("over").src = `looks/${look.number}/${layer}.png${layer === "prediction" ? query : ""}`;
  $("over").alt = $("layer").selectedOptions[0].textContent;
  $("mask").href = `looks/${look.number}/mask.png${query}`;
  $("over").style.opacity = $("opacity").value / 100;
  if (at) point(at.row, at.column);
}

function throttled(milliseconds, action) {
  let timer = null, given = null;
  return (...values) => {
    given = values;
    timer ??= setTimeout(() => {
      timer = null;
      action(...given);
    }, milliseconds);
  };
}
const slid = throttled(SLIDE, paint);

async function point(row, column) {
  if (!look) return;
  at = { row, column };
  const number = look.number;
  $("cross").style.left = `${(100 * (column + 0.5)) / look.columns}%`;
  $("cross").style.top = `${(100 * (row + 0.5)) / look.rows}%`;
  $("cross").hidden = false;
  const query = new URLSearchParams({ row, column });
  const by_hand = weights();
  if (by_hand) query.set("weights", by_hand);
  try {
    const said = await ask(`looks/${number}/pixel?${query}`);
    if (look.number === number && at.row === row && at.column === column) tell(said);
  } catch (error) {
    $("where").textContent = error.message;
  }
}

function tell(said) {
  const order = said.probabilities.map((_, i) => i).sort((a, b) => said.probabilities[b] - said.probabilities[a]);
  for (const scale of said.scales) {
    const best = scale.probabilities.indexOf(Math.max(...scale.probabilities));
    if (order.indexOf(best) >= SHOWN) order.splice(SHOWN - 1, 0, ...order.splice(order.indexOf(best), 1));
  }
  const shown = order.slice(0, SHOWN);
  $("where").textContent = `Column ${at.column}, row ${at.row}: ${facts.classes[order[0]]}, ${percent(said.probabilities[order[0]])}`;
  $("how").textContent = "Probabilities of the classes at each scale and in the result";
  const head = row("th", ["", ...said.scales.map((x) => `scale ${x.scale}`), "result"]);
  const rows = shown.map((i) => row("td", [facts.classes[i], ...said.scales.map((x) => percent(x.probabilities[i])), percent(said.probabilities[i])], i));
  if (said.scales.some((x) => "attention" in x)) {
    rows.push(row("td", ["attention", ...said.scales.map((x) => ("attention" in x ? percent(x.attention) : "the rest")), ""]));
  }
  if (said.scales.some((x) => "share" in x)) {
    rows.push(row("td", ["share", ...said.scales.map((x) => percent(x.share)), percent(1)]));
  }
  $("pixel").tHead.replaceChildren(head);
  $("pixel").tBodies[0].replaceChildren(...rows);
  $("pixel").hidden = false;
}

function row(kind, cells, index = null) {
  const line = document.createElement("tr");
  cells.forEach((words, i) => {
    const cell = document.createElement(i ? kind : "th");
    cell.scope = i ? (kind === "th" ? "col" : "") : "row";
    if (!i && index !== null) cell.append(swatch(index));
    cell.append(words);
    line.append(cell);
  });
  return line;
}

function swatch(index) {
  const square = document.createElement("span");
  square.className = "swatch";
  square.style.background = `rgb(${facts.colors[index].join(",")})`;
  return square;
}

const hovered = throttled(HOVER, point);
function follow(event) {
  if (!look) return;
  const box = $("image").getBoundingClientRect();
  const inside = (x, side) => Math.min(Math.max(Math.floor(x), 0), side - 1);
  hovered(
    inside(((event.clientY - box.top) * look.rows) / box.height, look.rows),
    inside(((event.clientX - box.left) * look.columns) / box.width, look.columns),
  );
}

$("stage").addEventListener("pointermove", follow);
$("stage").addEventListener("pointerdown", follow);
$("stage").addEventListener("keydown", (event) => {
  const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
  if (!step || !look) return;
  event.preventDefault();
  const times = event.shiftKey ? 10 : 1;
  const from = at || { row: look.rows >> 1, column: look.columns >> 1 };
  const within = (x, side) => Math.min(Math.max(x, 0), side - 1);
  point(within(from.row + times * step[0], look.rows), within(from.column + times * step[1], look.columns));
});
$("file").addEventListener("change", () => {
  file = $("file").files[0] || null;
  start();
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  $("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind !== "drop" || !event.dataTransfer.files.length) return;
    file = event.dataTransfer.files[0];
    start();
  });
}
$("way").addEventListener("submit", (event) => {
  event.preventDefault();
  start();
});
$("method").addEventListener("change", offerScales);
offerScales();
$("layer").addEventListener("change", paint);
$("opacity").addEventListener("input", () => ($("over").style.opacity = $("opacity").value / 100));
$("reset").addEventListener("click", () => {
  document.querySelectorAll("#sliders input").forEach((x) => {
    x.value = 1;
    x.previousElementSibling.textContent = "1";
  });
  paint();
});
document.querySelectorAll(".key [data-class]").forEach((x) => (x.style.background = `rgb(${facts.colors[x.dataset.class].join(",")})`));
