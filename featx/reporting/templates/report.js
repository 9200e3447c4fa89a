"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  heads.forEach((head, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].map((row) => [row, row.cells[index].dataset.sort]);
      rows.sort(([, a], [, b]) => compare(a, b, down ? -1 : 1));
      body.append(...rows.map(([row]) => row));
    });
  });
}
// Cells without a value stay at the end in both directions.
function compare(a, b, sign) {
  if (a === "" || b === "") return (a === "") - (b === "");
  const x = Number(a), y = Number(b);
  if (!Number.isNaN(x) && !Number.isNaN(y)) return sign * (x - y);
  return sign * a.localeCompare(b, "en", { numeric: true });
}
for (const input of document.querySelectorAll("input[data-for]")) {
  const rows = [...document.getElementById(input.dataset.for).tBodies[0].rows];
  const output = input.parentElement.querySelector("output");
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      left += !row.hidden;
    }
    output.textContent = words.length ? `${left} of ${rows.length} rows` : "";
  });
}
// A link to a run's provenance opens it; everything is open on paper.
const open = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) target.open = true;
};
addEventListener("hashchange", open);
open();
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((item) => { item.open = true; }));
for (const figure of document.querySelectorAll("figure.map")) {
  const box = figure.querySelector(".mapbox"), svg = box.querySelector("svg"), tip = box.querySelector(".tip");
  const circles = [...svg.querySelectorAll("circle")];
  const spots = circles.map((circle) => [Number(circle.getAttribute("cx")), Number(circle.getAttribute("cy"))]);
  const data = JSON.parse(figure.querySelector("script").textContent);
  const choice = figure.querySelector("select"), keys = [...figure.querySelectorAll(".key")];
  let here = -1;
  choice.addEventListener("change", () => {
    const chosen = choice.selectedIndex;
    keys.forEach((key, index) => { key.hidden = index !== chosen; });
    circles.forEach((circle, index) => {
      for (let old = 0; old < 7; old += 1) circle.classList.remove(`c${old}`);
      circle.classList.add(`c${data[index].colours[chosen]}`);
    });
  });
  function show(index) {
    if (here >= 0) circles[here].classList.remove("here");
    here = index;
    tip.hidden = index < 0;
    if (index < 0) return;
    circles[index].classList.add("here");
    const lines = data[index].text.map((text) => Object.assign(document.createElement("p"), { textContent: text }));
    if (data[index].picture) lines.push(Object.assign(new Image(72, 72), { src: data[index].picture, alt: "" }));
    tip.replaceChildren(...lines);
    // Beside the point, inside of the box.
    const scale = svg.clientWidth / svg.viewBox.baseVal.width, [x, y] = spots[index].map((one) => one * scale);
    const left = x + 14 + tip.offsetWidth > box.clientWidth ? x - 14 - tip.offsetWidth : x + 14;
    tip.style.left = `${Math.max(left, 0)}px`;
    tip.style.top = `${Math.min(y + 8, Math.max(box.clientHeight - tip.offsetHeight, 0))}px`;
  }
  function nearest(worth) {
    let best = -1, least = Infinity;
    spots.forEach((spot, index) => {
      const value = worth(spot, index);
      if (value < least) { least = value; best = index; }
    });
    return best;
  }
  box.addEventListener("pointermove", (event) => {
    const frame = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / frame.width;
    const x = (event.clientX - frame.left) * scale, y = (event.clientY - frame.top) * scale;
    show(nearest(([a, b]) => { const d = Math.hypot(a - x, b - y); return d < 12 * scale ? d : Infinity; }));
  });
  box.addEventListener("pointerleave", () => show(-1));
  box.addEventListener("blur", () => show(-1));
  const ways = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
  box.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return show(-1);
    if (!(event.key in ways)) return undefined;
    event.preventDefault();
    const [dx, dy] = ways[event.key];
    if (here < 0) return show(nearest(([a, b]) => dx * a + dy * b));
    const [x, y] = spots[here];
    // The nearest point that way; sideways counts double.
    const next = nearest(([a, b], index) => {
      const along = dx * (a - x) + dy * (b - y), aside = Math.abs(dy * (a - x)) + Math.abs(dx * (b - y));
      return index !== here && along > 0 && aside <= 2 * along ? along + 2 * aside : Infinity;
    });
    return next < 0 ? undefined : show(next);
  });
}
