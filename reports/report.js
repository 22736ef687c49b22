"use strict";
// Adds sorting, filtering, copying and the JSON file to a page that is complete without it.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const say = (text) => { document.getElementById("said").textContent = text; };
  const button = (text, act) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.addEventListener("click", act);
    return made;
  };

  const text = (row, column) => row.cells[column].textContent.trim();
  const missing = (value) => value === "" || value === "–";
  const compare = (a, b) => {
    const [x, y] = [Number(a), Number(b)];
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en", { numeric: true }) : x - y;
  };
  const sort = (table, heading, column) => {
    const falling = heading.getAttribute("aria-sort") === "ascending";
    all("th[aria-sort]", table).forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const rows = all("tbody tr", table);
    rows.sort((a, b) => {
      const [x, y] = [text(a, column), text(b, column)];
      if (missing(x) || missing(y)) return missing(x) - missing(y);
      return falling ? compare(y, x) : compare(x, y);
    });
    table.tBodies[0].append(...rows);
    say(`Sorted by ${heading.textContent}, ${falling ? "descending" : "ascending"}; missing values last.`);
  };
  all("table.sortable").forEach((table) => {
    all("thead th", table).forEach((heading, column) => {
      const name = heading.textContent;
      heading.textContent = "";
      heading.append(button(name, () => sort(table, heading, column)));
    });
  });

  const tools = document.getElementById("trial-tools");
  if (tools) {
    const rows = all("#trial-table tbody tr");
    const [words, outcome] = [document.getElementById("trial-words"), document.getElementById("trial-outcome")];
    const filter = () => {
      const wanted = words.value.toLowerCase();
      rows.forEach((row) => {
        const fits = outcome.value === "" || row.dataset.outcome === outcome.value;
        row.hidden = !(fits && row.textContent.toLowerCase().includes(wanted));
      });
      const left = rows.filter((row) => !row.hidden).length;
      document.getElementById("trial-count").textContent = `${left} of ${rows.length} rows fit.`;
    };
    words.addEventListener("input", filter);
    outcome.addEventListener("change", filter);
    tools.hidden = false;
  }

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
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  };
  // Fields of a CSV; quotes within a quoted field are doubled.
  const fields = (csv) => {
    const rows = [[]];
    for (const [, quoted, plain, end] of csv.matchAll(/(?:"((?:[^"]|"")*)"|([^",\n]*))(,|\n|$)/g)) {
      rows.at(-1).push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
      if (end === "\n") rows.push([]);
    }
    return rows.filter((row) => row.length > 1);
  };
  // Numbers keep their digits: they are copied, not parsed.
  const json = (csv, texts) => {
    const [names, ...rows] = fields(csv);
    const value = (name, field) =>
      texts.includes(name) ? JSON.stringify(field) : field === "" ? "null" : field.toLowerCase();
    const object = (row) => `{${names.map((name, i) => `${JSON.stringify(name)}: ${value(name, row[i])}`).join(", ")}}`;
    return `[\n${rows.map(object).join(",\n")}\n]\n`;
  };
  all("a[data-texts]").forEach((link) => {
    const plain = link.download.replace(/\.gz$/, "");
    link.textContent = plain;
    link.addEventListener("click", async (event) => {
      if (plain === link.download) return;
      event.preventDefault();
      save(plain, "text/csv", await content(link));
    });
    const made = button(plain.replace("csv", "json"), async () =>
      save(plain.replace("csv", "json"), "application/json", json(await content(link), link.dataset.texts.split(" "))));
    link.after(" ", made);
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
      setTimeout(() => { made.textContent = "Copy"; }, 2000);
    });
    made.className = "copy";
    pre.before(made);
  });

  addEventListener("beforeprint", () => all("details:not([open])").forEach((fold) => {
    fold.open = true;
    fold.dataset.print = "";
  }));
  addEventListener("afterprint", () => all("details[data-print]").forEach((fold) => {
    fold.open = false;
    delete fold.dataset.print;
  }));
})();
