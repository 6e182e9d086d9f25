"use strict";
// The page works without this program: it sorts, filters, compares, and opens what an address names.
// Everything is put into the page as text, never as HTML.
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  let data = read("data");
  const keys = () => data.columns.map((column) => column.key);
  let at = index();
  let episodes = null, failures = null;
  const chosen = new Set();

  function index() {
    const places = {};
    data.columns.forEach((column, place) => { places[column.key] = place; });
    return places;
  }
  const value = (row, key) => row[at[key]];
  const rowOf = (run) => data.rows.find((row) => value(row, "run") === run);

  // ── building elements ────────────────────────────────────────────────────────────────────
  function make(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, content] of Object.entries(attributes || {})) {
      if (content !== null && content !== undefined && content !== false) {
        element.setAttribute(name, content === true ? "" : content);
      }
    }
    element.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return element;
  }

  const number = (x, digits) => x.toLocaleString("en", { maximumSignificantDigits: digits });
  const formats = {
    share: (x) => `${(100 * x).toFixed(1)} %`,
    score: (x) => number(x, 6),
    count: (x) => x.toLocaleString("en"),
    money: (x) => (x ? `$${x.toFixed(4)}` : "–"),
    seconds: (x) => (x >= 5400 ? `${(x / 3600).toFixed(1)} h` : x >= 90 ? `${(x / 60).toFixed(1)} min`
      : `${x.toFixed(x < 10 ? 1 : 0)} s`),
    time: (x) => String(x).slice(0, 16).replace("T", " "),
  };
  function shown(column, x) {
    if (x === null || x === undefined || x === "") return "–";
    return formats[column.kind] && (typeof x === "number" || column.kind === "time")
      ? formats[column.kind](x) : String(x);
  }
  const isNumber = (column) => column.kind in formats && column.kind !== "time";
  const link = (run, step) =>
    `#run=${encodeURIComponent(run)}${step ? `&step=${step}` : ""}`;
  const stepId = (step) => `cell-id=step-${String(step).padStart(4, "0")}`;
  const pageOf = (row, step) => {
    const page = value(row, "page");
    return page ? page + (step ? `#${stepId(step)}` : "") : "";
  };

  // ── filter: words, and conditions as `kernel-env runs --where` has them ────────────────────
  const condition = /^([A-Za-z_.]+)(!=|<=|>=|=|<|>|~)(.*)$/;
  function parse(text) {
    const parts = text.match(/[^\s"]+"[^"]*"|"[^"]*"|\S+/g) || [];
    return parts.map((part) => {
      const found = condition.exec(part.replaceAll('"', ""));
      if (!found) {
        const word = part.replaceAll('"', "").toLowerCase();
        return (row) => row.some((x) => typeof x === "string" && x.toLowerCase().includes(word));
      }
      const [, key, sign, wanted] = found;
      if (!(key in at)) {
        throw new Error(`no column named ${key}; known: ${keys().join(", ")}`);
      }
      const limit = wanted === "" ? NaN : Number(wanted);
      return (row) => {
        const x = value(row, key), text = x === null ? "" : String(x);
        const equal = typeof x === "number" && !Number.isNaN(limit) ? x === limit : text === wanted;
        const order = typeof x === "number" && !Number.isNaN(limit) ? [x, limit] : [text, wanted];
        switch (sign) {
          case "=": return equal;
          case "!=": return !equal;
          case "~": return text.toLowerCase().includes(wanted.toLowerCase());
          case "<": return x !== null && order[0] < order[1];
          case "<=": return x !== null && order[0] <= order[1];
          case ">": return x !== null && order[0] > order[1];
          default: return x !== null && order[0] >= order[1];
        }
      };
    });
  }

  let tests = [];
  function filter(text) {
    const box = document.getElementById("filter"), message = document.getElementById("filter-error");
    try {
      tests = parse(text);
      message.textContent = "";
      box.removeAttribute("aria-invalid");
    } catch (error) {
      tests = [];
      message.textContent = error.message;
      box.setAttribute("aria-invalid", "true");
    }
    episodes.draw();
    remember();
  }
  function remember() {
    try {
      sessionStorage.setItem("filter", document.getElementById("filter").value);
    } catch { /* the browser keeps nothing for this page */ }
  }

  // ── tables ───────────────────────────────────────────────────────────────────────────────
  const language = {
    info: "_START_ to _END_ of _TOTAL_", infoEmpty: "nothing to show", infoFiltered: "(_MAX_ in all)",
    lengthMenu: "_MENU_ per page", zeroRecords: "Nothing meets this filter.",
    emptyTable: "There is nothing to show.",
  };
  const layout = { topStart: null, topEnd: null, bottomStart: ["info", "pageLength"],
    bottomEnd: "paging" };

  function episodeColumn(column, place) {
    return {
      title: column.title, data: place, className: isNumber(column) ? "number"
        : column.kind === "words" ? "wrap" : "",
      type: isNumber(column) ? "num" : "string", visible: isShown(column, place),
      render: (x, how) => {
        if (how === "sort" || how === "type") return x === null ? (isNumber(column) ? -Infinity : "") : x;
        return how === "filter" ? String(x) : "";
      },
      createdCell: (cell, x, row) => fill(cell, column, x, row),
    };
  }
  function isShown(column, place) { // a column in which nothing differs from nothing is left out
    const none = column.key === "attempt" ? [1] : [null, "", 0];
    const optional = ["attempt", "rank", "medal", "rejected", "tokens", "cost", "waited", "error"];
    return column.kind !== "hidden" && (!optional.includes(column.key)
      || data.rows.some((row) => !none.includes(row[place])));
  }
  function fill(cell, column, x, row) {
    const run = value(row, "run");
    if (column.key === "task") {
      cell.replaceChildren(make("a", { href: link(run) }, shown(column, x)));
    } else if (column.kind === "status") {
      const lost = value(row, "counts") === false;
      cell.replaceChildren(make("span", { class: lost ? "tag lost" : "tag" }, shown(column, x)));
    } else if (column.key === "compare") {
      const box = make("input", { type: "checkbox", "aria-label": `compare ${run}` });
      box.checked = chosen.has(run);
      box.addEventListener("change", () => choose(run, box));
      cell.replaceChildren(box);
    } else {
      cell.textContent = shown(column, x);
    }
  }
  function choose(run, box) {
    if (box.checked) chosen.add(run); else chosen.delete(run);
    const button = document.getElementById("compare");
    button.disabled = chosen.size !== 2;
    button.textContent = chosen.size ? `Compare (${chosen.size} of 2 chosen)` : "Compare two";
  }

  function showEpisodes() {
    const first = { title: "<span class=\"quiet\">pick</span>", data: null, orderable: false,
      render: () => "", createdCell: (cell, x, row) => fill(cell, { key: "compare" }, null, row) };
    const columns = data.columns.map(episodeColumn);
    document.getElementById("episodes-static")?.remove();
    episodes = new DataTable("#episodes", {
      data: data.rows, columns: [first, ...columns], deferRender: true, autoWidth: false, language,
      layout, pageLength: 25, lengthMenu: [25, 100, 500], order: [], orderMulti: true,
    });
    episodes.search.fixed("conditions", (text, row, place) =>
      tests.every((meets) => meets(data.rows[place])));
  }

  function failureRows() {
    const rows = [];
    for (const [place, steps] of Object.entries(data.steps)) {
      const row = data.rows[place];
      for (const step of steps) {
        if (step[2] && step[2] !== "graded") {
          rows.push([value(row, "agent"), value(row, "task"), value(row, "run"), step[0], step[1],
            step[4] || step[2], step[3]]);
        }
      }
    }
    return rows;
  }
  function showFailures() {
    const table = document.getElementById("failure-list");
    if (!table) return;
    const titles = ["agent", "task", "run", "step", "action", "what", "message"];
    failures = new DataTable(table, {
      data: failureRows(), deferRender: true, autoWidth: false, language, pageLength: 10,
      lengthMenu: [10, 25, 100], order: [], layout: { ...layout, topEnd: "search" },
      columns: titles.map((title, place) => ({
        title, data: place, className: title === "message" ? "wrap" : title === "step" ? "number" : "",
        render: DataTable.render.text(),
        createdCell: (cell, x, row) => {
          if (title === "step" || title === "run") {
            const step = title === "step" ? row[3] : 0;
            cell.replaceChildren(make("a", { href: link(row[2], step) }, String(x)));
          }
        },
      })),
    });
  }
  function enhance(table) {
    const rows = table.tBodies[0].rows.length;
    const size = Number(table.dataset.page || 25);
    new DataTable(table, { autoWidth: false, language, order: [], pageLength: size,
      paging: rows > size, info: rows > size, searching: rows > size,
      lengthMenu: [size, 100, 500], layout: rows > size ? { ...layout, topEnd: "search" }
        : { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null } });
  }

  // ── what is shown, as a file ─────────────────────────────────────────────────────────────
  function download(name, kind, text) {
    const url = URL.createObjectURL(new Blob([text], { type: kind }));
    make("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }
  const shownRows = () => episodes.rows({ search: "applied", order: "applied" }).data().toArray();
  const plain = () => data.columns.filter((column) => column.kind !== "hidden" || column.key === "run");
  function csvCell(x) {
    let text = x === null ? "" : String(x);
    if (typeof x === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`; // no formula
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }
  function saveCsv() {
    const lines = [plain().map((column) => column.key).join(",")];
    for (const row of shownRows()) {
      lines.push(plain().map((column) => csvCell(value(row, column.key))).join(","));
    }
    download("episodes.csv", "text/csv", lines.join("\n") + "\n");
  }
  function saveJson() {
    const rows = shownRows().map((row) =>
      Object.fromEntries(plain().map((column) => [column.key, value(row, column.key)])));
    download("episodes.json", "application/json", JSON.stringify(rows, null, 1));
  }

  // ── one run, and two side by side ────────────────────────────────────────────────────────
  const dialog = document.getElementById("run");
  function fields(row) {
    const found = data.columns.filter((column) => column.kind !== "hidden" || column.key === "run")
      .map((column) => [column.title || column.key, shown(column, value(row, column.key))]);
    const settings = data.settings[value(row, "settings")] || {};
    for (const [name, x] of Object.entries(settings)) found.push([name, x === null ? "–" : String(x)]);
    return found;
  }
  function table(caption, heads, rows, look) {
    return make("div", { class: "scroll" }, make("table", { class: look },
      caption ? make("caption", {}, caption) : null,
      make("thead", {}, make("tr", {}, heads.map((head) => make("th", { scope: "col" }, head)))),
      make("tbody", {}, rows)));
  }
  function stepRows(row) {
    const steps = data.steps[data.rows.indexOf(row)] || [];
    return steps.map(([step, kind, result, detail, , seconds, person]) => {
      const href = pageOf(row, step);
      const place = href ? make("a", { href }, String(step)) : String(step);
      const look = result === "graded" ? "graded" : result ? "failed" : "";
      return make("tr", { class: look }, make("td", { class: "number" }, place),
        make("td", {}, person ? `${kind} (a person)` : kind), make("td", {}, result || "–"),
        make("td", { class: "wrap" }, detail),
        make("td", { class: "number" }, seconds ? formats.seconds(seconds) : "–"));
    });
  }
  const stepHeads = ["step", "action", "result", "score or message", "time"];
  function stepTable(row) {
    const rows = stepRows(row);
    return rows.length ? table("Steps", stepHeads, rows, "steps")
      : make("p", { class: "quiet" }, "The steps of this run are not in the report.");
  }
  function links(row) {
    const found = [];
    if (pageOf(row)) found.push(make("a", { href: pageOf(row) }, "Open the whole episode"));
    for (const [name, path] of data.files[value(row, "run")] || []) {
      found.push(make("a", { href: path, download: true }, name));
    }
    return make("p", { class: "tools" }, found);
  }
  const colours = ["#0072b2", "#d55e00"];
  function curve(rows) {
    const wide = 640, high = 200, left = 44, low = 28, top = 12;
    const best = rows.map((row) => value(row, "best").filter((each) => each[3] !== null));
    if (!best.some((each) => each.length)) return null;
    const last = Math.max(...rows.map((row) => value(row, "steps") || 1));
    const x = (step) => left + (step / last) * (wide - left - 8);
    const y = (place) => top + (1 - place) * (high - low - top);
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const add = (tag, attributes, text) => {
      const part = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [name, content] of Object.entries(attributes)) part.setAttribute(name, content);
      if (text) part.textContent = text;
      svg.append(part);
    };
    svg.setAttribute("viewBox", `0 0 ${wide} ${high}`);
    svg.setAttribute("class", "curve");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", "Best public position over steps");
    for (const place of [0, 0.5, 1]) {
      add("line", { x1: left, x2: wide - 8, y1: y(place), y2: y(place), stroke: "#8c959f55" });
      add("text", { x: left - 6, y: y(place) + 4, "text-anchor": "end" }, `${100 * place} %`);
    }
    add("text", { x: wide - 8, y: high - 6, "text-anchor": "end" }, `step ${last}`);
    best.forEach((points, which) => {
      let path = "", before = null;
      for (const [step, , , place] of points) {
        path += before === null ? `M${x(step)} ${y(place)}` : `H${x(step)}V${y(place)}`;
        before = place;
      }
      if (path) {
        add("path", { d: `${path}H${x(last)}`, fill: "none", stroke: colours[which],
          "stroke-width": 2.5, ...(which ? { "stroke-dasharray": "6 4" } : {}) });
      }
    });
    return svg;
  }
  const name = (row) => `${value(row, "agent")} on ${value(row, "task")}, seed ${value(row, "seed")}`;
  function open(title, ...body) {
    dialog.querySelector("h2").textContent = title;
    dialog.querySelector(".body").replaceChildren(...body.filter((part) => part));
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
  }
  function showRun(run) {
    const row = rowOf(run);
    if (!row) return open("No such run", make("p", {}, `This report has no run named ${run}.`));
    const rows = fields(row).filter(([, x]) => x !== "–").map(([title, x]) =>
      make("tr", {}, make("th", { scope: "row" }, title), make("td", {}, x)));
    const error = value(row, "error");
    return open(name(row), links(row), error ? make("p", { class: "bad" }, error) : null,
      curve([row]), stepTable(row), make("details", { open: true },
        make("summary", {}, "Record and settings"), table("", ["field", "value"], rows, "")));
  }
  function showPair(one, two) {
    const rows = [one, two].map(rowOf);
    if (rows.includes(undefined)) return open("No such run", make("p", {}, "Choose two runs."));
    const [left, right] = rows.map((row) => new Map(fields(row)));
    const names = [...new Set([...left.keys(), ...right.keys()])];
    const all = make("input", { type: "checkbox", id: "all-fields" });
    const lines = names.map((title) => {
      const [a, b] = [left.get(title) ?? "–", right.get(title) ?? "–"];
      const line = make("tr", { class: a === b ? "" : "differs" },
        make("th", { scope: "row" }, title), make("td", {}, a), make("td", {}, b));
      line.hidden = a === b;
      return [line, a === b];
    });
    all.addEventListener("change", () => {
      for (const [line, same] of lines) line.hidden = same && !all.checked;
    });
    const frames = rows.every((row) => pageOf(row)) ? make("details", {},
      make("summary", {}, "Both episodes side by side"), make("div", { class: "pair" },
        rows.map((row) => make("iframe", { "data-src": pageOf(row), sandbox: "",
          title: name(row) })))) : null;
    frames?.addEventListener("toggle", () => {
      for (const frame of frames.querySelectorAll("iframe")) {
        frame.src = frame.src || frame.dataset.src;
      }
    });
    const legend = make("p", { class: "quiet" }, rows.map((row, which) =>
      make("span", {}, make("span", { class: "swatch", style: `background:${colours[which]}` }),
        `${name(row)}  `)));
    return open("Two runs side by side", curve(rows) ? legend : null, curve(rows),
      make("p", {}, make("label", {}, all, " show also what is equal")),
      table("", ["", ...rows.map(name)], lines.map(([line]) => line), ""),
      make("div", { class: "pair" }, rows.map((row) =>
        make("div", {}, make("h3", {}, name(row)), links(row), stepTable(row)))), frames);
  }

  // ── addresses ────────────────────────────────────────────────────────────────────────────
  function follow() {
    const named = new URLSearchParams(location.hash.slice(1));
    if (named.has("run") && named.has("step")) {
      const row = rowOf(named.get("run"));
      if (row && pageOf(row)) {
        history.replaceState(null, "", link(named.get("run")));
        location.href = pageOf(row, Number(named.get("step")));
        return;
      }
    }
    if (named.has("run")) {
      showRun(named.get("run"));
    } else if (named.has("compare")) {
      showPair(...named.get("compare").split(",").map(decodeURIComponent));
    } else {
      if (named.has("filter")) {
        document.getElementById("filter").value = named.get("filter");
        filter(named.get("filter"));
        document.getElementById("all").scrollIntoView();
      }
      if (dialog.open) dialog.close();
    }
  }
  dialog.addEventListener("close", () => {
    if (/^#(run|compare)=/.test(location.hash)) history.pushState(null, "", "#all");
  });
  dialog.querySelector("button").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

  // ── live ─────────────────────────────────────────────────────────────────────────────────
  async function poll() {
    const panel = document.getElementById("live");
    try {
      const state = await (await fetch("state.json", { cache: "no-store" })).json();
      panel.classList.remove("lost");
      panel.querySelector("strong").textContent = state.summary;
      panel.querySelector("ul").replaceChildren(...state.running.map((line) => make("li", {}, line)));
      if (state.version !== document.body.dataset.version) await renew();
    } catch {
      panel.classList.add("lost");
      panel.querySelector("strong").textContent = "The server has ended; this page stays as it is.";
      return;
    }
    setTimeout(poll, 2000);
  }
  async function renew() {
    const text = await (await fetch("index.html", { cache: "no-store" })).text();
    const fresh = new DOMParser().parseFromString(text, "text/html");
    const opened = new Set([...document.querySelectorAll("main details[open]")].map((each) => each.id));
    for (const part of document.querySelectorAll("[data-part]")) {
      const next = fresh.getElementById(part.id);
      if (next) part.replaceWith(document.adoptNode(next));
    }
    for (const each of document.querySelectorAll("main details")) {
      if (each.id && opened.has(each.id)) each.open = true;
    }
    data = JSON.parse(fresh.getElementById("data").textContent);
    at = index();
    document.body.dataset.version = fresh.body.dataset.version;
    document.querySelectorAll("[data-part] table.sortable").forEach(enhance);
    episodes.clear().rows.add(data.rows).draw(false);
    if (failures) failures.clear().rows.add(failureRows()).draw(false);
  }

  // ── begin ────────────────────────────────────────────────────────────────────────────────
  showEpisodes();
  showFailures();
  document.querySelectorAll("table.sortable").forEach(enhance);
  for (const tool of document.querySelectorAll(".tools[hidden]")) tool.hidden = false;
  const box = document.getElementById("filter");
  box.addEventListener("input", () => filter(box.value));
  document.getElementById("compare").addEventListener("click", () => {
    location.hash = `compare=${[...chosen].map(encodeURIComponent).join(",")}`;
  });
  document.getElementById("csv").addEventListener("click", saveCsv);
  document.getElementById("json").addEventListener("click", saveJson);
  window.addEventListener("hashchange", follow);
  window.addEventListener("beforeprint", () => {
    document.querySelectorAll("details.domain").forEach((each) => { each.open = true; });
  });
  try {
    box.value = sessionStorage.getItem("filter") || "";
  } catch { /* as above */ }
  if (box.value) filter(box.value);
  follow();
  if (document.body.dataset.version) poll();
  document.documentElement.dataset.ready = "true";
})();
