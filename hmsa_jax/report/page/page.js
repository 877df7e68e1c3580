"use strict";
// What the pieces of a page do when they are used. All that is shown was put into the page as text.

const ARROWS = {ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1};

/** Filters and sorts the cards of a gallery, leads from picture to picture, and enlarges one. */
function gallery(root) {
  const form = root.querySelector("form"), output = root.querySelector("output");
  const list = root.querySelector(".cards"), dialog = root.querySelector("dialog");
  const unit = root.dataset.unit;
  const cards = [...list.children].map((element) => ({
    element,
    number: element.dataset.number === undefined ? null : Number(element.dataset.number),
    group: element.dataset.group,
    byClass: JSON.parse(element.dataset.classes),
    ofClass: element.querySelector(".of-class"),
    pictures: [...element.querySelectorAll(".picture")],
  }));
  const classNames = [...form.elements.class.options].map((option) => option.textContent).slice(1);
  let shown = cards, enlarged = null;

  function isWorst(card, chosen) {
    const known = Object.values(card.byClass).filter((value) => value !== null);
    return card.byClass[chosen] !== null && card.byClass[chosen] === Math.min(...known);
  }

  function arrange() {
    const {which, order, group} = form.elements, chosen = form.elements.class.value;
    if (which) which.disabled = chosen === "";
    const holds = (card) => (chosen === "" || chosen in card.byClass)
      && (!group || group.value === "" || card.group === group.value);
    shown = cards.filter((card) =>
      holds(card) && (chosen === "" || !which || which.value === "hold" || isWorst(card, chosen)));
    if (order) {
      const [what, sign] = order.value.split(" ");
      const value = (card) => what === "class" && chosen !== "" ? card.byClass[chosen] : card.number;
      const last = (card) => value(card) === null || value(card) === undefined;
      if (what !== "given") {
        shown = [...shown].sort((a, b) => last(a) - last(b) || Number(sign) * (value(a) - value(b)));
      }
    }
    for (const card of cards) {
      card.element.hidden = !shown.includes(card);
      const value = chosen === "" ? undefined : card.byClass[chosen];
      card.ofClass.textContent = value === undefined ? ""
        : ` · ${classNames[chosen]}: ${value === null ? "-" : value.toFixed(1) + unit}`;
    }
    list.append(...shown.map((card) => card.element));
    output.textContent = `${shown.length} of ${cards.length} images`;
  }

  function enlarge(card, index) {
    enlarged = {card, index};
    const picture = card.pictures[index].querySelector("img"), large = dialog.querySelector("img");
    large.src = picture.src;
    large.alt = picture.alt;
    large.className = picture.className;
    dialog.querySelector(".what").textContent = picture.alt;
    if (!dialog.open) dialog.showModal();
  }

  function go(sideways, down) {
    const {card, index} = enlarged;
    if (down) {
      const next = shown[shown.indexOf(card) + down];
      if (next) enlarge(next, Math.min(index, next.pictures.length - 1));
    } else {
      const next = index + sideways;
      if (next >= 0 && next < card.pictures.length) enlarge(card, next);
    }
  }

  /** Makes a picture the one of its card that Tab leads to. */
  function reach(card, index) {
    card.pictures.forEach((picture, i) => { picture.tabIndex = i === index ? 0 : -1; });
    card.pictures[index].focus();
  }

  for (const card of cards) {
    card.pictures.forEach((picture, index) => {
      picture.addEventListener("click", () => enlarge(card, index));
      picture.addEventListener("keydown", (event) => {
        const last = card.pictures.length - 1;
        const next = event.key === "Home" ? 0 : event.key === "End" ? last : index + (ARROWS[event.key] ?? NaN);
        if (Number.isNaN(next)) return;
        event.preventDefault();
        reach(card, Math.max(0, Math.min(last, next)));
      });
    });
  }
  dialog.addEventListener("keydown", (event) => {
    if (!(event.key in ARROWS)) return;
    event.preventDefault();
    const step = ARROWS[event.key], isDown = event.key === "ArrowUp" || event.key === "ArrowDown";
    go(isDown ? 0 : step, isDown ? step : 0);
  });
  dialog.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (event.target === dialog || (button && "close" in button.dataset)) dialog.close();
    else if (button) go(Number(button.dataset.go), 0);
  });
  dialog.addEventListener("close", () => { reach(enlarged.card, enlarged.index); });
  form.addEventListener("change", arrange);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  arrange();
}

/** Shows the confusion matrix that is chosen: of each label, the percent that are predicted as what. */
function matrix(root) {
  const {choices} = JSON.parse(root.querySelector("script").textContent);
  const form = root.querySelector("form"), rows = [...root.querySelectorAll("tbody tr")];
  function show() {
    const counts = choices[form.elements.choice.value];
    rows.forEach((row, i) => {
      const total = counts[i].reduce((sum, count) => sum + count, 0);
      [...row.querySelectorAll("td")].forEach((cell, j) => {
        const part = total ? 100 * counts[i][j] / total : 0;
        cell.textContent = total ? (counts[i][j] ? part.toFixed(1) : "") : "-";
        cell.title = `${counts[i][j]} pixels`;
        cell.style.setProperty("--part", part.toFixed(1));
      });
    });
  }
  form.addEventListener("change", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
}

document.querySelectorAll(".gallery").forEach(gallery);
document.querySelectorAll(".matrix").forEach(matrix);
window.addEventListener("beforeprint", () => {
  document.querySelectorAll("details").forEach((element) => { element.open = true; });
});
