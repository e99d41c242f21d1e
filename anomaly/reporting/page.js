"use strict";
// Without this the page can be read all the same: it only enlarges, explains on hover, sorts and changes colours.
(() => {
  const find = (what, from = document) => from.querySelector(what);
  const all = (what, from = document) => [...from.querySelectorAll(what)];
  const make = (tag, facts = {}, ...inside) => {
    const made = Object.assign(document.createElement(tag), facts);
    made.append(...inside);
    return made;
  };

  // Dark and light: what the system says, until the reader chooses.
  const root = document.documentElement, toggle = find("#theme");
  const kept = { get: () => { try { return localStorage.getItem("theme"); } catch { return null; } },
    set: (name) => { try { localStorage.setItem("theme", name); } catch { /* a page from a file may keep nothing */ } } };
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const name = () => { toggle.textContent = dark() ? "Light page" : "Dark page"; };
  if (kept.get()) root.dataset.theme = kept.get();
  toggle.onclick = () => { root.dataset.theme = dark() ? "light" : "dark"; kept.set(root.dataset.theme); name(); };
  system.addEventListener("change", name);
  toggle.hidden = false;
  name();

  // The chapter that is being read.
  const links = new Map(all("nav a").map((link) => [link.hash.slice(1), link]));
  const heads = all("main h2").filter((head) => links.has(head.id));
  const follow = () => {
    const ended = innerHeight + scrollY >= root.scrollHeight - 2;
    const passed = heads.filter((head) => head.getBoundingClientRect().top < 120);
    const here = ended ? heads.at(-1) : passed.at(-1) || heads[0];
    links.forEach((link, id) => here && id === here.id ? link.setAttribute("aria-current", "location") : link.removeAttribute("aria-current"));
  };
  addEventListener("scroll", follow, { passive: true });
  follow();

  // Pictures that enlarge.
  const large = find("#large"), shown = all(".zoom");
  let at = 0;
  const show = (place) => {
    at = (place + shown.length) % shown.length;
    const copy = shown[at].cloneNode(true), told = shown[at].closest("figure")?.querySelector("figcaption");
    copy.removeAttribute("class");
    copy.removeAttribute("loading");
    if (copy.tagName === "svg") copy.setAttribute("class", "drawn");
    find(".stage", large).replaceChildren(copy);
    find(".below", large).textContent = (told ? told.textContent : shown[at].getAttribute("alt") || "").replace(/\s+/g, " ").trim();
    if (!large.open) large.showModal();
  };
  shown.forEach((picture, place) => {
    const button = make("button", { type: "button", className: "enlarge", title: "Enlarge" });
    picture.replaceWith(button);
    button.append(picture);
    button.onclick = () => show(place);
  });
  find("#earlier").onclick = () => show(at - 1);
  find("#later").onclick = () => show(at + 1);
  find("#close").onclick = () => large.close();
  find(".stage").onclick = () => large.close();
  large.onkeydown = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) show(at + step);
  };

  // What is wider than the page is scrolled by keys as well.
  const reach = new ResizeObserver((boxes) => boxes.forEach(({ target }) => {
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }));
  all(".wide").forEach((box) => reach.observe(box));

  // What a word means, on hover and focus; Escape takes it away.
  const tip = find("#tip");
  let away = 0, told;
  const hide = () => { tip.hidden = true; };
  const later = () => { away = setTimeout(hide, 250); };
  const lay = () => {
    if (tip.hidden) return;
    const word = told.getBoundingClientRect(), { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(8, Math.min(word.left, innerWidth - width - 8))}px`;
    tip.style.top = `${word.bottom + height + 8 < innerHeight ? word.bottom + 4 : Math.max(4, word.top - height - 4)}px`;
  };
  const explain = (link) => {
    clearTimeout(away);
    told = link;
    tip.textContent = document.getElementById(link.getAttribute("aria-describedby")).textContent;
    tip.hidden = false;
    lay();
  };
  all("a.word").forEach((link) => {
    link.onmouseenter = link.onfocus = () => explain(link);
    link.onmouseleave = link.onblur = later;
  });
  tip.onmouseenter = () => clearTimeout(away);
  tip.onmouseleave = later;
  addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  addEventListener("scroll", lay, { passive: true });

  // The table of all images: only a page of its rows is ever drawn.
  const held = find("#rows");
  if (!held) return;
  const { columns, rows } = JSON.parse(held.textContent), side = 50;
  const place = Object.fromEntries(columns.map((column, index) => [column.name, index]));
  const table = find("#images-table"), body = find("tbody", table), text = find("#find"), keep = find("#keep");
  const order = new Intl.Collator("en", { numeric: true });
  let sorted = { by: place.value, down: true }, first = 0, chosen = rows;
  const tests = {
    flagged: (row) => row[place.flagged] === "yes", unlike: (row) => Boolean(row[place.unlike]),
    case: (row) => row[place.outcome] === "with", control: (row) => row[place.outcome] === "without",
  };
  const compare = (one, other) => {
    const [a, b] = [one[sorted.by], other[sorted.by]];
    if (a === null || b === null) return (a === null) - (b === null); // what is not known stands last either way
    return (sorted.down ? -1 : 1) * (typeof a === "number" ? a - b : order.compare(a, b));
  };
  const cell = (row, column, index) => {
    const value = row[index] === null ? "–" : String(row[index]), link = row[columns.length];
    if (index) return make("td", { className: column.number ? "number" : "" }, value);
    const inside = link ? make("a", { href: link, title: "Its heatmap, a file beside this page" }, value) : value;
    return make("th", { scope: "row" }, inside);
  };
  const draw = () => {
    body.replaceChildren(...chosen.slice(first, first + side).map((row) => make("tr", {}, ...columns.map((column, index) => cell(row, column, index)))));
    const last = Math.min(first + side, chosen.length), count = (number) => number.toLocaleString("en");
    find("#counted").textContent = chosen.length ? `${count(first + 1)}–${count(last)} of ${count(chosen.length)} images` : "no such image";
    find("#back").disabled = first === 0;
    find("#next").disabled = last === chosen.length;
  };
  const choose = () => {
    const wanted = text.value.trim().toLowerCase(), test = tests[keep.value] || (() => true);
    chosen = rows.filter((row) => test(row) && row[0].toLowerCase().includes(wanted)).sort(compare);
    first = 0;
    draw();
  };
  find("thead tr", table).append(...columns.map((column, index) => {
    const button = make("button", { type: "button" }, column.title);
    const head = make("th", { scope: "col", className: column.number ? "number" : "" }, button);
    button.onclick = () => {
      sorted = { by: index, down: sorted.by === index ? !sorted.down : Boolean(column.number) };
      all("th[aria-sort]", table).forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
      choose();
    };
    if (index === sorted.by) head.setAttribute("aria-sort", "descending");
    return head;
  }));
  find("#back").onclick = () => { first -= side; draw(); };
  find("#next").onclick = () => { first += side; draw(); };
  text.oninput = keep.onchange = choose;
  find("#all-images").hidden = false;
  choose();
})();
