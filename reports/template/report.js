"use strict";
// Sorting, filtering, reading points, copying and the JSON file, for a page that is complete without them.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const find = (id) => document.getElementById(id);
  const say = (words) => { find("said").textContent = words; };
  const button = (words, act) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = words;
    made.addEventListener("click", act);
    return made;
  };

  const compare = (a, b) => {
    const [x, y] = [Number(a), Number(b)];
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en", { numeric: true }) : x - y;
  };
  const sort = (table, heading, column) => {
    const falling = heading.ariaSort === "ascending";
    all("th[aria-sort]", table).forEach((other) => other.removeAttribute("aria-sort"));
    heading.ariaSort = falling ? "descending" : "ascending";
    const value = (row) => row.cells[column].textContent.trim();
    const missing = (row) => ["", "–"].includes(value(row));
    const order = (a, b) => falling ? compare(value(b), value(a)) : compare(value(a), value(b));
    const rows = all("tbody tr", table).sort((a, b) => missing(a) - missing(b) || order(a, b));
    table.tBodies[0].append(...rows);
    say(`Sorted by ${heading.textContent}, ${heading.ariaSort}; missing values last.`);
  };
  all("#trial-table, details table").forEach((table) => all("thead th", table).forEach((heading, column) => {
    const made = button(heading.textContent, () => sort(table, heading, column));
    heading.replaceChildren(made);
  }));

  if (find("trial-tools")) {
    const rows = all("#trial-table tbody tr");
    const [words, column, low, high, outcome] = all("#trial-tools :is(input, select)");
    find("trial-tools").oninput = () => {
      const at = column.value;
      const bounded = at && low.value + high.value;
      rows.forEach((row) => {
        const text = (at ? row.cells[at] : row).textContent.toLowerCase().trim();
        const [value, least, most] = [text, low.value || "-Infinity", high.value || "Infinity"].map(parseFloat);
        const fits = !bounded || (value >= least && value <= most);
        row.hidden = !(fits && ["", row.dataset.outcome].includes(outcome.value) && text.includes(words.value.toLowerCase()));
      });
      find("trial-count").textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows fit.`;
    };
    find("trial-tools").hidden = false;
  }

  // The points of a figure are links: one stop of the Tab key leads to them, the arrows from one to the next.
  all(".reading").forEach((reading) => {
    const svg = reading.previousElementSibling;
    const left = (point) => point.getBoundingClientRect().x;
    const points = all("a", svg).sort((a, b) => left(a) - left(b));
    const stop = (at) => points.forEach((point) => { point.tabIndex = point === at ? 0 : -1; });
    svg.onpointerover = ({ target }) => { reading.textContent = target.closest("a")?.textContent; };
    svg.addEventListener("focusin", svg.onpointerover);
    svg.onkeydown = (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const to = points.at((points.indexOf(event.target) + step) % points.length);
      stop(to);
      to.focus();
    };
    stop(points[0]);
  });

  const content = async (link) => {
    const data = link.href.slice(link.href.indexOf(",") + 1);
    if (!link.href.includes(";base64,")) return decodeURIComponent(data);
    const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  };
  const save = (name, type, body) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([body], { type }));
    link.download = name;
    link.click();
  };
  const fields = (csv) => {
    const rows = [[]];
    for (const [, quoted, plain, end] of csv.matchAll(/(?:"((?:[^"]|"")*)"|([^",\n]*))(,|\n|$)/g)) {
      rows.at(-1).push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
      if (end === "\n") rows.push([]);
    }
    return rows.filter((row) => row.length > 1);
  };
  // Numbers keep all their digits: they are copied, not parsed.
  const json = (csv, texts) => {
    const [names, ...rows] = fields(csv);
    const value = (name, field) => texts.includes(name) ? JSON.stringify(field) : field.toLowerCase() || "null";
    const object = (row) => `{${names.map((name, i) => `"${name}": ${value(name, row[i])}`).join(", ")}}`;
    return `[\n${rows.map(object).join(",\n")}\n]\n`;
  };
  all("a[data-texts]").forEach((link) => {
    const [csv, texts] = [link.download.replace(/\.gz$/, ""), link.dataset.texts.split(" ")];
    const name = csv.replace(/csv$/, "json");
    if (csv !== link.download) link.addEventListener("click", async (event) => {
      event.preventDefault();
      save(csv, "text/csv", await content(link));
    });
    link.textContent = csv;
    link.after(button(name, async () => save(name, "application/json", json(await content(link), texts))));
  });

  const hint = ({ target: box }) => {
    const beyond = box.scrollWidth - box.clientWidth;
    box.dataset.wide = beyond < 1 ? "no" : box.scrollLeft < beyond - 1 ? "more" : "end";
  };
  const sizes = new ResizeObserver((boxes) => boxes.forEach(hint));
  all(".scroll").forEach((box) => {
    box.onscroll = hint;
    sizes.observe(box);
  });

  all("pre[data-copy]").forEach((pre) => {
    const made = button("Copy", async () => {
      try {
        await navigator.clipboard.writeText(pre.textContent);
        say(made.textContent = "Copied");
      } catch {
        getSelection().selectAllChildren(pre);
        say(made.textContent = "Press Ctrl-C");
      }
    });
    made.className = "copy";
    pre.before(made);
  });

  // For browsers that cannot open them by style.
  addEventListener("beforeprint", () => all("details.fold").forEach((fold) => { fold.open = true; }));
})();
