// SPDX-FileCopyrightText: fleetcare.esxi contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Charts and the table of findings of the report page. Whatever comes from the report gets into the page as text
// (textContent, attributes by name), never as HTML.
"use strict";
(() => {
  const started = performance.now();
  const Plot = globalThis.Plot;
  const data = JSON.parse(document.getElementById("report").textContent);
  const PAGE = 100;
  // Pixels of a chart on paper, of which two stand side by side.
  const PAPER = 480;
  const NONE = "(none)";
  const VERDICT_NAMES = data.verdicts;
  const VERDICTS = Object.keys(VERDICT_NAMES);
  // Beside the levels of findings: what could not be judged, and a repair that no finding speaks of.
  const LEVELS = ["error", "unjudged", "warning", "change", "note"];
  const LEVEL_NAMES = {error: "error", unjudged: "not judged", warning: "warning", change: "to repair", note: "note"};
  // What an exception covers, what the role named would repair, and what is left for people.
  const STATES = {open: "open", repairable: "a role repairs", waiting: "no role repairs", excused: "excused"};
  const KINDS = {host: "host", vm: "VM", endpoint: "endpoint"};
  const number = new Intl.NumberFormat("en");
  const fmt = (value) => number.format(value);
  const plural = (count, one, many) => `${fmt(count)} ${count === 1 ? one : many}`;
  const day = (moment) => moment.slice(0, 10);

  // ---- elements ------------------------------------------------------------------------------------------------------

  function h(tag, properties, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (name === "value") element.value = value;
      else element.setAttribute(name, value === true ? "" : value);
    }
    for (const child of children.flat()) {
      if (child !== null && child !== undefined && child !== "") element.append(child);
    }
    return element;
  }

  const name = (text) => h("bdi", null, text);

  // ---- the report ----------------------------------------------------------------------------------------------------

  const strings = data.strings;
  const text = (place) => (place < 0 ? null : strings[place]);
  const features = new Map(data.features.map((feature) => [feature.word, feature]));
  for (const set of data.sets) {
    for (let i = 0; i < set.length; i += 2) {
      const word = strings[set[i]];
      if (!features.has(word)) features.set(word, {word, title: word, repaired_by: null, owner: null});
    }
  }
  const order = new Map([...features.keys()].map((word, place) => [word, place]));
  const exceptions = new Map(data.exceptions.map((each) => [each.id, each]));
  const codes = new Map(Object.entries(data.codes));
  const controls = new Map(Object.entries(data.controls));
  const judgements = data.judgements;
  const targets = [];

  for (const [vm, called, moid, endpoint, path, whole, datacenter, cluster, host, groups, set, clock, exposure] of data.targets) {
    targets.push({
      kind: vm ? "vm" : "host",
      name: called,
      moid,
      endpoint: text(endpoint),
      path: whole ? text(path) + called : text(path),
      datacenter: text(datacenter),
      cluster: text(cluster) ?? NONE,
      host: text(host),
      groups: groups.map(text),
      set,
      clock: clock ? {offset: clock[0], bound: clock[1], limit: clock[2]} : null,
      exposure,
    });
  }
  for (const endpoint of data.endpoints) {
    targets.push({
      kind: "endpoint", name: endpoint.name, moid: "", endpoint: endpoint.name, path: "", datacenter: null, cluster: null, host: null,
      groups: [], set: endpoint.set, clock: null, exposure: -1, failure: endpoint.failure,
    });
  }

  // One row a finding; a judgement that failed, and a repair without a finding, are rows too.
  const rows = [];
  function addRow(target, judged, level, code, said, finding, hint) {
    const exception = finding && finding.exception !== undefined ? exceptions.get(finding.exception) ?? {id: finding.exception} : null;
    const row = {
      target, judged, level, code, text: said, hint,
      exception,
      excused: Boolean(exception && exception.status === "active"),
      // What was not judged is an error, too, where the report counts it as one.
      counted: finding ? finding.level : level,
      repairable: finding ? Boolean(finding.repairable) : level === "change",
      since: (finding && finding.since) || "",
      fresh: Boolean(finding && finding.new),
      place: rows.length,
    };
    row.state = row.excused ? "excused" : row.repairable ? "repairable" : "waiting";
    judged.rows.push(row);
    rows.push(row);
  }
  // The next step, which a message ends with, has a column of its own.
  const withoutHint = ({message, hint}) => (hint && message.endsWith(hint) ? message.slice(0, -hint.length).trimEnd() : message);
  const UNJUDGED = new Set(["not_reached", "not_judged"]);
  for (const target of targets) {
    target.needle = `${target.name}\n${target.host ?? ""}`.toLowerCase();
    target.judged = [];
    const set = data.sets[target.set];
    for (let i = 0; i < set.length; i += 2) {
      const judgement = judgements[set[i + 1]];
      const judged = {word: strings[set[i]], verdict: judgement.verdict, judgement, rows: []};
      target.judged.push(judged);
      const findings = judgement.findings ?? [];
      const failure = judgement.failure;
      // What kept it from being judged is a finding, too, which an exception may cover; the failure knows the next step.
      const told = failure ? findings.find((finding) => UNJUDGED.has(finding.code)) : undefined;
      for (const finding of findings) {
        if (finding === told) addRow(target, judged, "unjudged", finding.code, finding.text, finding, failure.hint);
        else addRow(target, judged, finding.level, finding.code, finding.text, finding, codes.get(finding.code)?.hint);
      }
      if (told) continue;
      if (failure) addRow(target, judged, "unjudged", failure.kind, withoutHint(failure), null, failure.hint);
      else if (judged.verdict === "unreachable" || judged.verdict === "failed") addRow(target, judged, "unjudged", judged.verdict, "It could not be judged.", null, null);
      else if (judged.verdict === "repairable" && !findings.some((finding) => finding.repairable)) {
        const count = (judgement.changes ?? []).length;
        addRow(target, judged, "change", "", `The role would make ${plural(count, "change", "changes")}.`, null, null);
      }
    }
    if (target.failure) {
      const judged = {word: "", verdict: "failed", judgement: {}, rows: []};
      target.judged.push(judged);
      addRow(target, judged, "unjudged", target.failure.kind, withoutHint(target.failure), null, target.failure.hint);
    }
  }

  const sorted = (values) => [...new Set(values)].sort((a, b) => a.localeCompare(b, "en", {numeric: true}));
  const all = {
    clusters: sorted(targets.filter((target) => target.cluster !== null).map((target) => target.cluster)),
    endpoints: sorted(targets.map((target) => target.endpoint)),
    codes: sorted(rows.map((row) => row.code).filter(Boolean)),
    exposures: data.exposures.map((exposure) => new Map(Object.entries(exposure))),
  };

  // ---- filters -------------------------------------------------------------------------------------------------------

  const FILTERS = ["name", "feature", "level", "state", "verdict", "cluster", "endpoint", "code", "new", "exposure"];
  const hasLevel = (row, level) => row.level === level || row.counted === level;
  const hasState = (row, wanted) => (wanted === "open" ? !row.excused : row.state === wanted);
  const state = {sort: "level", page: 1};
  for (const key of FILTERS) state[key] = "";

  function readHash() {
    const given = new URLSearchParams(location.hash.slice(1));
    for (const key of FILTERS) state[key] = given.get(key) ?? "";
    state.sort = SORTS[(given.get("sort") ?? "").replace(/^-/, "")] ? given.get("sort") : "level";
    state.page = Math.max(1, Number.parseInt(given.get("page") ?? "1", 10) || 1);
  }

  function writeHash() {
    const given = new URLSearchParams();
    for (const key of FILTERS) if (state[key]) given.set(key, state[key]);
    if (state.sort !== "level") given.set("sort", state.sort);
    if (state.page > 1) given.set("page", state.page);
    const hash = given.toString();
    if (hash !== location.hash.slice(1)) history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
  }

  function nameTest(given) {
    const wanted = given.trim().toLowerCase();
    if (!wanted) return () => true;
    if (!wanted.includes("*")) return (target) => target.needle.includes(wanted);
    const pattern = new RegExp(`^${wanted.split("*").map((part) => part.replace(/[\\^$.|?+()[\]{}]/g, "\\$&")).join(".*")}$`, "m");
    return (target) => pattern.test(target.needle);
  }

  // What the filters leave: findings for the table; targets, each with its judgements, for the charts.
  function chosen() {
    const named = nameTest(state.name);
    const {feature, level, verdict, cluster, endpoint, code} = state;
    const fresh = state.new === "1";
    const exposure = state.exposure === "" ? null : Number(state.exposure);
    const byJudgement = feature || verdict || level || state.state || code || fresh;
    const left = {rows: [], targets: []};
    for (const target of targets) {
      if (cluster && target.cluster !== cluster) continue;
      if (endpoint && target.endpoint !== endpoint) continue;
      if (exposure !== null && target.exposure !== exposure) continue;
      if (!named(target)) continue;
      const kept = [];
      for (const judged of target.judged) {
        if (feature && judged.word !== feature) continue;
        if (verdict && judged.verdict !== verdict) continue;
        let found = !level && !state.state && !code && !fresh;
        for (const row of judged.rows) {
          if (level && !hasLevel(row, level)) continue;
          if (state.state && !hasState(row, state.state)) continue;
          if (code && row.code !== code) continue;
          if (fresh && !row.fresh) continue;
          found = true;
          left.rows.push(row);
        }
        if (found) kept.push(judged);
      }
      if (kept.length || !byJudgement) left.targets.push({target, judged: kept});
    }
    return left;
  }

  const compareText = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  const collator = new Intl.Collator("en", {numeric: true});
  const SORTS = {
    // What is excused goes last, what is new first among its like.
    level: (a, b) => a.excused - b.excused || LEVELS.indexOf(a.level) - LEVELS.indexOf(b.level) || b.fresh - a.fresh,
    target: (a, b) => collator.compare(a.target.name, b.target.name),
    feature: (a, b) => (order.get(a.judged.word) ?? -1) - (order.get(b.judged.word) ?? -1),
    finding: (a, b) => compareText(a.code, b.code) || collator.compare(a.text, b.text),
    exception: (a, b) => compareText(a.exception?.expires ?? "~", b.exception?.expires ?? "~"),
    since: (a, b) => compareText(b.since, a.since),
  };

  function sortRows(list) {
    const down = state.sort.startsWith("-") ? -1 : 1;
    const compare = SORTS[state.sort.replace(/^-/, "")];
    return list.sort((a, b) => down * compare(a, b) || a.place - b.place);
  }

  // ---- the frame -----------------------------------------------------------------------------------------------------

  const controlsOf = {};
  function field(key, label, control) {
    controlsOf[key] = control;
    control.id = `filter-${key}`;
    return h("div", {class: `field field-${key}`}, h("label", {for: control.id}, label), control);
  }
  function select(key, label, options) {
    const control = h("select", {onchange: () => change({[key]: control.value})}, h("option", {value: ""}, "all"));
    for (const [value, shown] of options) control.append(h("option", {value}, shown));
    return field(key, label, control);
  }

  let typing = 0;
  const nameField = h("input", {
    type: "search", autocomplete: "off", spellcheck: "false", placeholder: "esx-07 or *-dmz-*", "aria-describedby": "name-help",
    oninput: () => {
      clearTimeout(typing);
      typing = setTimeout(() => change({name: nameField.value}), 120);
    },
  });
  const freshField = h("input", {type: "checkbox", id: "filter-new", onchange: () => change({new: freshField.checked ? "1" : ""})});
  const exposureField = h("button", {type: "button", class: "chip", onclick: () => {
    change({exposure: ""});
    nameField.focus();
  }});
  controlsOf.exposure = exposureField;
  const clearButton = h("button", {type: "button", onclick: () => {
    change(Object.fromEntries(FILTERS.map((key) => [key, ""])));
    nameField.focus();
  }}, "Clear filters");
  const told = h("p", {id: "count", role: "status", "aria-live": "polite"});
  const form = h("form", {class: "filters", role: "search", "aria-label": "Filter charts and findings", onsubmit: (event) => event.preventDefault()},
    field("name", "Host or VM", nameField),
    h("span", {id: "name-help", class: "unseen"}, "Part of a name; an asterisk stands for anything. A VM is also found by its host."),
    select("feature", "Feature", [...features.values()].map((feature) => [feature.word, feature.title])),
    select("level", "Level", LEVELS.filter((level) => level !== "change" || rows.some((row) => row.level === level)).map((level) => [level, LEVEL_NAMES[level]])),
    select("state", "State", Object.entries(STATES)),
    select("verdict", "Verdict", VERDICTS.map((verdict) => [verdict, VERDICT_NAMES[verdict]])),
    select("cluster", "Cluster", all.clusters.map((each) => [each, each])),
    all.endpoints.length > 1 ? select("endpoint", "Endpoint", all.endpoints.map((each) => [each, each])) : null,
    select("code", "Code", all.codes.map((each) => [each, each])),
    data.since ? h("div", {class: "field field-new"}, h("label", null, freshField, " New only")) : null,
    exposureField, clearButton, told);
  if (data.since) controlsOf.new = freshField;

  const charts = h("div", {class: "charts"});
  const tableBody = h("tbody", {role: "rowgroup"});
  const COLUMNS = [["level", "Level"], ["target", "Target"], ["feature", "Feature"], ["finding", "Finding"], [null, "Next step"], ["exception", "Exception"], ["since", "Since"]];
  const heads = new Map();
  const headRow = h("tr", {role: "row"});
  for (const [key, label] of COLUMNS) {
    const head = h("th", {scope: "col", role: "columnheader"}, key ? [h("button", {type: "button", onclick: () => sortBy(key)}, label), h("span", {class: "paper", "aria-hidden": "true"}, label)] : label);
    if (key) heads.set(key, head);
    headRow.append(head);
  }
  const table = h("table", {class: "findings", role: "table", "aria-describedby": "count"},
    h("caption", {class: "unseen"}, "Findings; the heads of the columns sort"), h("thead", {role: "rowgroup"}, headRow), tableBody);
  const sortField = h("select", {id: "sort", onchange: () => change({sort: sortField.value})},
    [...heads.keys()].flatMap((key) => [[key, `${key}`], [`-${key}`, `${key}, reversed`]]).map(([value, shown]) => h("option", {value}, shown)));
  function pager(place) {
    const back = h("button", {type: "button", onclick: () => turn(-1, place)}, "Previous");
    const on = h("button", {type: "button", onclick: () => turn(1, place)}, "Next");
    const where = h("span", {class: "where"});
    return {back, on, where, bar: h("nav", {class: "pager", "aria-label": `Pages of the findings, ${place}`}, back, where, on)};
  }
  const pagers = [pager("above"), pager("below")];
  const heading = h("h2", {id: "findings", tabindex: "-1"}, "Findings");
  document.getElementById("app").append(
    h("h2", {id: "stands"}, "Where it stands"), form,
    h("section", {"aria-labelledby": "stands", class: "drawn"}, charts),
    h("section", {"aria-labelledby": "findings", class: "list"},
      h("div", {class: "listhead"}, heading, h("label", {class: "sort"}, "Sort by ", sortField), pagers[0].bar),
      table, pagers[1].bar));

  function change(changes) {
    Object.assign(state, {page: 1}, changes);
    writeHash();
    show();
  }
  function sortBy(key) {
    change({sort: state.sort === key ? `-${key}` : key});
  }
  function turn(by, place) {
    const page = state.page + by;
    if (page < 1 || page > pageCount()) return;
    state.page = page;
    writeHash();
    showRows();
    if (place === "below") heading.scrollIntoView();
  }

  // ---- the table -----------------------------------------------------------------------------------------------------

  let current = {rows: [], targets: []};
  let printing = false;
  const pageCount = () => Math.max(1, Math.ceil(current.rows.length / PAGE));

  function details(row) {
    const {target, judged} = row;
    const changes = judged.judgement.changes ?? [];
    const facts = [
      ["Verdict", VERDICT_NAMES[judged.verdict]],
      ["Path", target.path],
      ["Object", target.moid],
      ["Runs on", target.host],
      ["Groups", target.groups.join(", ")],
      ...(codes.get(row.code)?.controls ?? []).filter((id) => controls.has(id)).map((id) => [id, `${controls.get(id).guide}, ${controls.get(id).source}`]),
    ];
    return h("details", null,
      h("summary", null, changes.length ? plural(changes.length, "change", "changes") : "more"),
      changes.length ? h("ul", {class: "changes"}, changes.map((each) => {
        const values = Object.entries(each).filter(([key]) => key !== "change");
        return h("li", null, h("code", null, each.change), values.length ? " " : null,
          values.map(([key, value]) => h("span", {class: "value"}, `${key}: ${typeof value === "string" ? value : JSON.stringify(value)}`)));
      })) : null,
      h("dl", null, facts.filter(([, value]) => value).map(([key, value]) => h("div", null, h("dt", null, key), h("dd", null, name(value))))));
  }

  function cell(label, ...children) {
    return h("td", {role: "cell", "data-label": label}, ...children);
  }

  const levelName = (row) => (row.level === "unjudged" ? VERDICT_NAMES[judgedAs(row)] : LEVEL_NAMES[row.level] ?? row.level);
  const judgedAs = (row) => (row.code === "not_reached" || row.judged.verdict === "unreachable" ? "unreachable" : "failed");

  function drawRow(row) {
    const {target, exception} = row;
    const where = [target.kind === "endpoint" ? "endpoint" : KINDS[target.kind], target.cluster === NONE ? null : target.cluster,
      all.endpoints.length > 1 && target.kind !== "endpoint" ? target.endpoint : null].filter(Boolean);
    const ids = codes.get(row.code)?.controls ?? [];
    return h("tr", {role: "row", class: row.excused ? "excused" : null},
      cell("Level", h("span", {class: `level ${row.level}`}, levelName(row)), row.excused ? h("span", {class: "note"}, "excused") : null),
      cell("Target", h("span", {class: target.name.length > 36 ? "target long" : "target"}, name(target.name)), h("span", {class: "where"}, name(where.join(" · ")))),
      cell("Feature", features.get(row.judged.word)?.title ?? "all"),
      cell("Finding", h("span", {class: "text"}, name(row.text)), row.code ? h("code", null, row.code) : null, details(row)),
      cell("Next step", row.hint ? h("span", {class: "text"}, row.hint) : null,
        row.repairable && features.get(row.judged.word)?.repaired_by ? h("span", {class: "role"}, h("code", null, features.get(row.judged.word).repaired_by), " repairs it.") : null,
        ids.map((id) => {
          const control = controls.get(id);
          return h("span", {class: "control"}, h("code", null, id), control ? ` ${control.title}` : null);
        })),
      cell("Exception", exception ? exceptionText(exception) : null),
      cell("Since", row.since ? h("time", {datetime: row.since, title: `${row.since.slice(0, 16).replace("T", " ")} UTC`}, day(row.since)) : null,
        row.fresh ? h("strong", {class: "fresh"}, "new") : null));
  }

  function exceptionText(exception) {
    if (!exception.owner) return [name(exception.id)];
    const expired = exception.status === "expired";
    return [
      h("span", null, name(exception.id), ", ", name(exception.owner)),
      expired ? h("strong", {class: "expired"}, `expired ${exception.expires}`) : h("span", {class: "where"}, `until ${exception.expires}`),
    ];
  }

  function showRows() {
    state.page = Math.min(state.page, pageCount());
    const from = (state.page - 1) * PAGE;
    const shown = printing ? current.rows : current.rows.slice(from, from + PAGE);
    tableBody.replaceChildren(...shown.map(drawRow));
    if (!shown.length) {
      const said = rows.length ? "No finding fits these filters." : "There is no finding.";
      tableBody.append(h("tr", {role: "row"}, h("td", {role: "cell", colspan: COLUMNS.length, class: "empty"}, said)));
    }
    for (const {back, on, where, bar} of pagers) {
      back.setAttribute("aria-disabled", state.page <= 1);
      on.setAttribute("aria-disabled", state.page >= pageCount());
      where.textContent = current.rows.length
        ? `${fmt(from + 1)} to ${fmt(Math.min(from + PAGE, current.rows.length))} of ${fmt(current.rows.length)}` : "";
      bar.hidden = current.rows.length <= PAGE;
    }
    for (const [key, head] of heads) {
      const down = state.sort === `-${key}`;
      if (down || state.sort === key) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    sortField.value = state.sort;
  }

  function showFilters() {
    for (const key of FILTERS) {
      const control = controlsOf[key];
      if (!control) continue;
      if (key === "new") control.checked = state.new === "1";
      else if (key !== "exposure" && control.value !== state[key]) {
        control.value = state[key];
        // A link may name what this report does not have: no finding fits then, and the filter says why.
        if (key !== "name" && control.value !== state[key]) {
          control.append(h("option", {value: state[key]}, state[key]));
          control.value = state[key];
        }
      }
    }
    exposureField.hidden = state.exposure === "";
    exposureField.textContent = "Only one set of open ports. Show all";
    const set = FILTERS.filter((key) => state[key]);
    clearButton.hidden = !set.length;
    form.dataset.set = set.map((key) => `${key}: ${state[key]}`).join(", ");
    const whose = new Set(current.rows.map((row) => row.target)).size;
    told.textContent = `${plural(current.rows.length, "finding", "findings")} on ${plural(whose, "target", "targets")}`
      + (set.length ? `, of ${fmt(rows.length)} in all` : "");
    let hosts = 0;
    let vms = 0;
    for (const {target} of current.targets) {
      hosts += target.kind === "host";
      vms += target.kind === "vm";
    }
    told.append(h("span", {class: "where"}, ` (charts: ${plural(hosts, "host", "hosts")}, ${plural(vms, "VM", "VMs")})`));
  }

  // ---- charts --------------------------------------------------------------------------------------------------------

  const LABEL = 17;
  const BAR = 34;

  function link(label, filters, what) {
    return h("button", {type: "button", class: "link", "aria-label": what ?? `Filter by ${label}`, onclick: () => {
      change(filters);
      nameField.focus();
    }}, name(label));
  }

  function asTable(caption, columns, lines) {
    return h("details", {class: "astable"}, h("summary", null, "As a table", h("span", {class: "unseen"}, `: ${caption}`)),
      h("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": `${caption}, as a table`},
        h("table", {class: "plain"}, h("caption", {class: "unseen"}, caption),
          h("thead", null, h("tr", null, columns.map((column) => h("th", {scope: "col"}, column)))),
          h("tbody", null, lines.map((line) => h("tr", null, line.map((value, place) =>
            place ? h("td", null, typeof value === "number" ? fmt(value) : value) : h("th", {scope: "row"}, value))))))));
  }

  function plot(options, width, label) {
    const drawn = Plot.plot({
      width,
      marginLeft: 0, marginRight: 0, marginTop: 4, marginBottom: 4,
      ...options,
      ariaLabel: label,
    });
    drawn.setAttribute("role", "img");
    // The library labels groups, which have no role that may carry a label; the picture has one, and the table its numbers.
    for (const mark of drawn.querySelectorAll("[aria-label]")) {
      mark.dataset.mark = mark.getAttribute("aria-label");
      mark.removeAttribute("aria-label");
    }
    return drawn;
  }

  // Names over bars instead of beside them: room on a phone, and for long names.
  function bars(lines, keys, fill, width, label, right) {
    const parts = [];
    for (const line of lines) for (const key of keys) if (line.counts[key]) parts.push({line: line.key, key, count: line.counts[key]});
    const height = lines.length * BAR + 6;
    const max = Math.max(...lines.map((line) => line.total), 1);
    return plot({
      height,
      x: {axis: null, domain: [0, right ? 1 : max]},
      y: {axis: null, domain: lines.map((line) => line.key), padding: 0},
      marks: [
        Plot.barX(parts, Plot.stackX({
          x: right ? (part) => part.count / Math.max(lines.find((line) => line.key === part.line).total, 1) : "count",
          y: "line", order: keys, fill: (part) => fill(part.key), insetTop: LABEL, insetBottom: 5,
          stroke: "var(--surface)", strokeWidth: 1,
          title: (part) => `${part.line}\n${VERDICT_NAMES[part.key] ?? part.key}: ${fmt(part.count)}`, tip: true,
        })),
        Plot.text(lines, {y: "key", text: "key", frameAnchor: "left", textAnchor: "start", dy: -BAR / 2 + 8, fill: "currentColor", lineWidth: Math.max(8, width / 14), textOverflow: "ellipsis"}),
        Plot.text(lines, {y: "key", text: "said", frameAnchor: "right", textAnchor: "end", dy: -BAR / 2 + 8, fill: "var(--muted)"}),
      ],
    }, width, label);
  }

  const verdictFill = (verdict) => (["compliant", "not_compliant"].includes(verdict) ? `var(--${verdict})` : `url(#pattern-${verdict})`);

  function legend(verdicts) {
    return h("p", {class: "legend"}, verdicts.map((verdict) => h("span", null, swatch(verdict), VERDICT_NAMES[verdict])));
  }
  function svg(tag, attributes, ...children) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }
  function swatch(verdict) {
    return svg("svg", {width: 14, height: 10, "aria-hidden": "true", class: "swatch"}, svg("rect", {width: 14, height: 10, fill: verdictFill(verdict)}));
  }
  // Never colour alone: each verdict but the two commonest has a texture of its own.
  function patterns() {
    const texture = {
      excepted: ["M0,6 l6,-6 M-1,1 l2,-2 M5,7 l2,-2", 1.4],
      repairable: ["M0,0 l6,6 M-1,5 l2,2 M5,-1 l2,2", 1.8],
      unreachable: ["M0,3 l6,0", 2.2],
      failed: ["M0,0 l6,6 M6,0 l-6,6", 1.4],
    };
    const defs = svg("defs", {});
    for (const [verdict, [path, width]] of Object.entries(texture)) {
      defs.append(svg("pattern", {id: `pattern-${verdict}`, width: 6, height: 6, patternUnits: "userSpaceOnUse"},
        svg("rect", {width: 6, height: 6, fill: `var(--${verdict})`}),
        svg("path", {d: path, stroke: `var(--${verdict}-line)`, "stroke-width": width, fill: "none"})));
    }
    document.body.append(svg("svg", {width: 0, height: 0, class: "patterns", "aria-hidden": "true"}, defs));
  }

  const count = (counts, key, by = 1) => { counts[key] = (counts[key] ?? 0) + by; };
  const sum = (counts) => Object.values(counts).reduce((total, each) => total + each, 0);
  const fine = (counts) => (counts.compliant ?? 0) + (counts.excepted ?? 0);
  const present = (lines) => VERDICTS.filter((verdict) => lines.some((line) => line.counts[verdict]));

  function byFeature(left, width) {
    const found = new Map([...features.keys()].map((word) => [word, {}]));
    for (const {judged} of left.targets) for (const each of judged) if (each.word) count(found.get(each.word), each.verdict);
    const lines = [];
    for (const [word, counts] of found) {
      const total = sum(counts);
      if (total) lines.push({key: features.get(word).title, word, counts, total, said: `${fmt(fine(counts))} of ${fmt(total)}`});
    }
    return compliance(lines, width, "Compliance by feature", "Feature", (line) => link(line.key, {feature: line.word}),
      "Judgements: hosts, VMs and endpoints, each by what it is judged for.");
  }

  function byCluster(left, width) {
    const found = new Map();
    for (const {target, judged} of left.targets) {
      if (target.kind === "endpoint" || !judged.length) continue;
      const worst = judged.reduce((most, each) => Math.max(most, VERDICTS.indexOf(each.verdict)), 0);
      if (!found.has(target.cluster)) found.set(target.cluster, {});
      count(found.get(target.cluster), VERDICTS[worst]);
    }
    const lines = [...found].map(([key, counts]) => ({key, counts, total: sum(counts), said: `${fmt(fine(counts))} of ${fmt(sum(counts))}`}));
    lines.sort((a, b) => fine(a.counts) / a.total - fine(b.counts) / b.total || collator.compare(a.key, b.key));
    return compliance(lines, width, "Compliance by cluster", "Cluster", (line) => link(line.key, {cluster: line.key}),
      "Hosts and VMs, each by the worst of its verdicts; the worst clusters first.");
  }

  const MOST = 16;
  function compliance(lines, width, title, what, button, note) {
    if (!lines.length) return {title, empty: "Nothing that the filters leave is judged."};
    const seen = present(lines);
    const total = lines.reduce((all, line) => all + line.total, 0);
    const right = lines.reduce((all, line) => all + fine(line.counts), 0);
    const cut = lines.length > MOST ? ` Drawn are ${MOST} of ${fmt(lines.length)}; the table has all.` : "";
    return {
      title,
      note: `${fmt(right)} of ${fmt(total)} right or excused. ${note}${cut}`,
      drawn: [legend(seen), bars(lines.slice(0, MOST), VERDICTS, verdictFill, width, `${title}: ${fmt(right)} of ${fmt(total)} right or excused`, true)],
      table: asTable(title, [what, ...seen.map((verdict) => VERDICT_NAMES[verdict]), "all"],
        lines.map((line) => [button(line), ...seen.map((verdict) => line.counts[verdict] ?? 0), line.total])),
    };
  }

  function seconds(value) {
    const size = Math.abs(value);
    const sign = value < 0 ? "-" : "";
    const short = (each) => String(Number(each.toPrecision(2)));
    if (size === 0) return "0";
    if (size < 1) return `${sign}${short(size * 1000)} ms`;
    if (size < 120) return `${sign}${short(size)} s`;
    if (size < 7200) return `${sign}${short(size / 60)} min`;
    if (size < 172800) return `${sign}${short(size / 3600)} h`;
    return `${sign}${short(size / 86400)} d`;
  }

  const CLOCKS = {over: "over the limit", perhaps: "perhaps over", within: "within"};
  function clockOf({offset, bound, limit}) {
    const size = Math.abs(offset);
    return size - bound > limit ? "over" : size + bound > limit ? "perhaps" : "within";
  }
  const SINGLE = 150;

  function skew(left, width) {
    const title = "Clock skew";
    const clocks = left.targets.filter(({target}) => target.clock).map(({target}) => ({
      name: target.name, ...target.clock, low: target.clock.offset - target.clock.bound, high: target.clock.offset + target.clock.bound,
      kind: clockOf(target.clock),
    }));
    if (!clocks.length) return {title, empty: "No clock was read of the hosts that the filters leave."};
    clocks.sort((a, b) => a.offset - b.offset || collator.compare(a.name, b.name));
    clocks.forEach((clock, place) => { clock.rank = place + 1; });
    const counts = {};
    for (const clock of clocks) count(counts, clock.kind);
    const limits = [...new Set(clocks.map((clock) => clock.limit))].sort((a, b) => a - b);
    const limit = limits[0] || 0.1;
    const high = clocks.reduce((most, clock) => Math.max(most, clock.high), limits[limits.length - 1]);
    const lowest = clocks.reduce((most, clock) => Math.min(most, clock.low), -limits[limits.length - 1]);
    const ticks = [0];
    for (let power = limit, step = 0; power <= Math.max(high, -lowest) * 1.01 && step < 12; power *= 10, step += 1) {
      if (power <= high * 1.01) ticks.push(power);
      if (-power >= lowest * 1.01) ticks.push(-power);
    }
    // Labels that would lie on each other: those of limits stay, then the ones farther out.
    const place = (value) => Math.sign(value) * Math.log1p(Math.abs(value) / limit);
    const apart = (place(high) - place(lowest)) * 0.065;
    const shownTicks = [];
    for (const tick of [...new Set([...limits.slice(-1).flatMap((each) => [each, -each]), ...ticks])]) {
      if (shownTicks.every((other) => Math.abs(place(other) - place(tick)) >= apart)) shownTicks.push(tick);
    }
    const marks = [
      Plot.ruleY([0], {stroke: "var(--line)"}),
      Plot.ruleY(limits.flatMap((each) => [each, -each]), {stroke: "var(--not_compliant)", strokeDasharray: "5,4", strokeWidth: 1.3}),
    ];
    const colour = {over: "var(--not_compliant)", perhaps: "var(--repairable-ink)", within: "var(--accent)"};
    const symbol = {over: "diamond", perhaps: "triangle", within: "circle"};
    let points = clocks;
    if (clocks.length > SINGLE) {
      // As many hosts as there are pixels: a band from the lowest to the highest that a clock of the bin may be.
      const bins = [];
      const each = clocks.length / 120;
      for (let from = 0; from < clocks.length; from += each) {
        const bin = clocks.slice(Math.floor(from), Math.max(Math.floor(from + each), Math.floor(from) + 1));
        if (bin.length) bins.push({
          rank: bin[0].rank, to: bin[bin.length - 1].rank, low: Math.min(...bin.map((clock) => clock.low)), high: Math.max(...bin.map((clock) => clock.high)),
          offset: bin[Math.floor(bin.length / 2)].offset,
        });
      }
      marks.push(
        Plot.areaY(bins, {x: "rank", y1: "low", y2: "high", fill: "var(--accent)", fillOpacity: 0.22}),
        Plot.lineY(bins, {x: "rank", y: "offset", stroke: "var(--accent)", strokeWidth: 1.6}));
      points = clocks.filter((clock) => clock.kind !== "within").sort((a, b) => Math.abs(b.offset) - Math.abs(a.offset)).slice(0, SINGLE);
    }
    marks.push(
      Plot.ruleX(points, {x: "rank", y1: "low", y2: "high", stroke: (clock) => colour[clock.kind], strokeWidth: points.length > 60 ? 1 : 1.6}),
      Plot.dot(points, {x: "rank", y: "offset", r: points.length > 60 ? 2 : 3, fill: (clock) => colour[clock.kind], symbol: (clock) => symbol[clock.kind],
        title: (clock) => `${clock.name}\n${seconds(clock.offset)} ± ${seconds(clock.bound)}\nallowed: ${seconds(clock.limit)}`, tip: true}));
    const said = counts.within === clocks.length ? "all within the limit" : Object.keys(CLOCKS).filter((kind) => counts[kind]).map((kind) => `${fmt(counts[kind])} ${CLOCKS[kind]}`).join(", ");
    const far = [...clocks].sort((a, b) => Math.abs(b.offset) - Math.abs(a.offset)).slice(0, 50);
    return {
      title,
      note: `${plural(clocks.length, "host", "hosts")}, sorted by how far the clock is off: ${said}. Allowed (dashed): ${limits.slice(0, 5).map(seconds).join(", ")}. `
        + (clocks.length > SINGLE ? "The band is what the bounds of the measurement allow." : "Bars are the bounds of the measurement."),
      drawn: [plot({
        height: 230, marginLeft: 66, marginBottom: 22, marginTop: 8, marginRight: 22,
        x: {label: null, ticks: 0, domain: [0.5, clocks.length + 0.5], type: "linear"},
        y: {type: "symlog", constant: limit, domain: [lowest, high], nice: false, ticks: shownTicks, tickFormat: (value) => (value > 0 ? "+" : "") + seconds(value), label: null},
        symbol: {type: "identity"},
        marks: [Plot.axisX({ticks: [1, clocks.length], tickSize: 3, tickFormat: (value) => fmt(value), label: null}), ...marks],
      }, width, `Clock skew of ${plural(clocks.length, "host", "hosts")}: ${said}`)],
      table: asTable(clocks.length > far.length ? `${title}, the ${far.length} farthest off` : title, ["Host", "Offset", "Bound", "Allowed", "State"],
        far.map((clock) => [link(clock.name, {name: clock.name}), seconds(clock.offset), seconds(clock.bound), seconds(clock.limit), CLOCKS[clock.kind]])),
    };
  }

  function licences(left) {
    const seen = new Set(left.targets.map(({target}) => target.endpoint));
    const unfiltered = !FILTERS.some((key) => state[key]);
    const found = [];
    for (const endpoint of data.endpoints) {
      if (!unfiltered && !seen.has(endpoint.name)) continue;
      for (const each of endpoint.licenses) {
        const unit = (each.unit ?? "").replace(/^cpuPackage.*/, "CPU packages").replace(/^cpuCore.*/, "CPU cores");
        found.push({
          ...each, unit, endpoint: endpoint.name,
          key: `${each.name ?? "licence"} ${each.key.slice(-5)}${data.endpoints.length > 1 ? ` (${endpoint.name})` : ""}`, masked: each.key,
          share: each.total ? (each.used ?? 0) / each.total : null,
        });
      }
    }
    // Two of one name would fall onto one bar.
    const times = new Map();
    for (const each of found) {
      const nth = (times.get(each.key) ?? 0) + 1;
      times.set(each.key, nth);
      if (nth > 1) each.key += ` #${nth}`;
    }
    return found;
  }
  const ofTotal = (each) => (each.total === null ? `${fmt(each.used ?? 0)} used, no limit told` : `${fmt(each.used ?? 0)} of ${fmt(each.total)} ${each.unit}`).trim();

  function capacity(left, width) {
    const title = "Licence capacity";
    const found = licences(left);
    if (!found.length) return {title, empty: "The endpoints that the filters leave told of no licences."};
    found.sort((a, b) => (b.share ?? -1) - (a.share ?? -1));
    const shown = found.slice(0, MOST);
    const full = found.filter((each) => each.share >= 1);
    const over = found.filter((each) => each.share > 1);
    const most = Math.max(1, ...shown.map((each) => each.share ?? 0));
    const limited = shown.filter((each) => each.share !== null);
    const note = `${plural(found.length, "licence", "licences")}; ${fmt(full.length)} used up (hatched: nine tenths or more)${over.length ? `, ${fmt(over.length)} over capacity` : ""}.`
      + (found.length > MOST ? ` Drawn are the ${MOST} fullest.` : "");
    return {
      title, note,
      drawn: [plot({
        height: shown.length * BAR + 6,
        x: {axis: null, domain: [0, most]}, y: {axis: null, domain: shown.map((each) => each.key), padding: 0},
        marks: [
          Plot.barX(limited, {x1: 0, x2: 1, y: "key", fill: "var(--track)", insetTop: LABEL, insetBottom: 5}),
          Plot.barX(limited, {x1: 0, x2: "share", y: "key", fill: (each) => (each.share > 1 ? "var(--not_compliant)" : each.share >= 0.9 ? "url(#pattern-repairable)" : "var(--accent)"), insetTop: LABEL, insetBottom: 5,
            title: (each) => `${each.key}\n${each.masked}\n${ofTotal(each)}`, tip: true}),
          Plot.text(shown, {y: "key", text: "key", frameAnchor: "left", textAnchor: "start", dy: -BAR / 2 + 8, fill: "currentColor", lineWidth: Math.max(8, width / 15), textOverflow: "ellipsis"}),
          Plot.text(shown, {y: "key", text: ofTotal, frameAnchor: "right", textAnchor: "end", dy: -BAR / 2 + 8, fill: "var(--muted)"}),
        ],
      }, width, `${title}: ${note}`)],
      table: asTable("Licences", ["Licence", "Key", "Endpoint", "Used", "Total", "Expires"],
        found.map((each) => [each.name ?? "licence", each.masked, each.endpoint, each.used ?? "-", each.total ?? "no limit told", each.expires ? `${day(each.expires)}, ${daysLeft(each)}` : "never, or not told"])),
    };
  }
  const daysLeft = (each) => (each.days_left === null ? "" : each.days_left < 0 ? `${plural(Math.ceil(-each.days_left), "day", "days")} ago` : `${plural(Math.floor(each.days_left), "day", "days")} left`);

  function expiry(left, width) {
    const title = "Licence expiry";
    const found = licences(left);
    const dated = found.filter((each) => each.expires).sort((a, b) => (a.expires < b.expires ? -1 : 1));
    if (!dated.length) return {title, empty: found.length ? "No licence of these ends, as far as the endpoints told." : "The endpoints that the filters leave told of no licences."};
    const shown = dated.slice(0, MOST).map((each) => ({...each, when: new Date(each.expires)}));
    const now = new Date(data.generated);
    const gone = dated.filter((each) => new Date(each.expires) < now).length;
    const coming = dated.find((each) => new Date(each.expires) >= now);
    const first = new Date(Math.min(now, shown[0].when));
    const last = new Date(Math.max(now, shown[shown.length - 1].when));
    const pad = Math.max((last - first) * 0.03, 86400000);
    const soon = (each) => (each.when < now ? "var(--not_compliant)" : (each.days_left ?? 999) <= 60 ? "var(--repairable-ink)" : "var(--accent)");
    const note = `${fmt(dated.length)} of ${plural(found.length, "licence", "licences")} end${dated.length === 1 ? "s" : ""}; ${gone ? `${fmt(gone)} already did; ` : ""}${coming ? `the next on ${day(coming.expires)}` : "none is left"}. The upright line is the day of this report.`
      + (dated.length > MOST ? ` Drawn are the first ${MOST}.` : "");
    return {
      title, note,
      drawn: [plot({
        height: shown.length * BAR + 42, marginBottom: 36, marginLeft: 8, marginRight: 8,
        x: {type: "utc", domain: [new Date(first - pad), new Date(+last + pad)], label: null, ticks: Math.max(2, Math.floor(width / 110)), tickSize: 3}, y: {type: "band", axis: null, domain: shown.map((each) => each.key), padding: 0},
        marks: [
          Plot.ruleX([now], {stroke: "currentColor", strokeWidth: 1.3}),
          Plot.ruleY(shown, {y: "key", x1: now, x2: "when", stroke: soon, strokeWidth: 2, dy: LABEL / 2 - 1}),
          Plot.dot(shown, {x: "when", y: "key", r: 4, fill: soon, symbol: (each) => (each.when < now ? "times" : "circle"), stroke: soon, dy: LABEL / 2 - 1,
            title: (each) => `${each.key}\n${each.masked}\n${day(each.expires)}, ${daysLeft(each)}`, tip: true}),
          Plot.text(shown, {y: "key", text: "key", frameAnchor: "left", textAnchor: "start", dy: -BAR / 2 + 8, fill: "currentColor", stroke: "var(--surface)", strokeWidth: 4, lineWidth: Math.max(8, width / 16), textOverflow: "ellipsis"}),
          Plot.text(shown, {y: "key", text: (each) => `${day(each.expires)}, ${daysLeft(each)}`, frameAnchor: "right", textAnchor: "end", dy: -BAR / 2 + 8, fill: soon, stroke: "var(--surface)", strokeWidth: 4}),
        ],
      }, width, `${title}: ${note}`)],
      table: asTable(title, ["Licence", "Key", "Ends"], dated.map((each) => [each.key, each.masked, `${day(each.expires)}, ${daysLeft(each)}`])),
    };
  }

  function locks(left, width) {
    const title = "Why VMs are locked";
    const found = new Map();
    const vms = new Set();
    for (const {target, judged} of left.targets) {
      for (const each of judged) {
        if (target.kind !== "vm" || each.word !== "crypto") continue;
        for (const row of each.rows) {
          if (!["error", "warning"].includes(row.level) || state.level && !hasLevel(row, state.level) || state.state && !hasState(row, state.state) || state.code && row.code !== state.code || state.new === "1" && !row.fresh) continue;
          if (!found.has(row.code)) found.set(row.code, {});
          count(found.get(row.code), each.verdict);
          vms.add(target);
        }
      }
    }
    if (!found.size) return {title, empty: "No VM that the filters leave has a finding about its key."};
    const lines = [...found].map(([key, counts]) => ({key, counts, total: sum(counts), said: fmt(sum(counts))})).sort((a, b) => b.total - a.total || compareText(a.key, b.key));
    const seen = present(lines);
    return {
      title,
      note: `${plural(vms.size, "VM has", "VMs have")} ${plural(lines.reduce((all, line) => all + line.total, 0), "finding", "findings")} about keys, by code.`,
      drawn: [legend(seen), bars(lines.slice(0, MOST), VERDICTS, verdictFill, width, `${title}: ${lines.slice(0, 6).map((line) => `${line.key} ${line.said}`).join(", ")}`, false)],
      table: asTable(title, ["Cause", ...seen.map((verdict) => VERDICT_NAMES[verdict]), "all"],
        lines.map((line) => [link(line.key, {feature: "crypto", code: line.key}), ...seen.map((verdict) => line.counts[verdict] ?? 0), line.total])),
    };
  }

  // ---- exposure: a table is the chart

  let grouping = "same";
  const groupField = h("select", {id: "grouping", onchange: () => {
    grouping = groupField.value;
    draw();
  }}, h("option", {value: "same"}, "hosts that open the same"), h("option", {value: "cluster"}, "cluster"));
  const EXPOSURE_ROWS = 25;
  const OPEN = {all: ["●", "open to all addresses"], some: ["◐", "open to some addresses"]};

  function exposure(left) {
    const title = "Firewall exposure";
    const hosts = left.targets.map(({target}) => target).filter((target) => target.exposure >= 0);
    if (!hosts.length) return {title, empty: "No firewall was read of the hosts that the filters leave."};
    const ports = new Map();
    const groups = new Map();
    for (const host of hosts) {
      const key = grouping === "same" ? host.exposure : host.cluster;
      if (!groups.has(key)) groups.set(key, {key, hosts: []});
      groups.get(key).hosts.push(host);
      for (const [port, open] of all.exposures[host.exposure]) {
        if (!ports.has(port)) ports.set(port, {all: 0, some: 0});
        ports.get(port)[open] += 1;
      }
    }
    const columns = [...ports.keys()].sort((a, b) => collator.compare(a, b));
    const lines = [...groups.values()];
    for (const line of lines) {
      line.ports = new Map();
      for (const host of grouping === "same" ? line.hosts.slice(0, 1) : line.hosts) {
        for (const [port, open] of all.exposures[host.exposure]) {
          if (!line.ports.has(port)) line.ports.set(port, {all: 0, some: 0});
          line.ports.get(port)[open] += grouping === "same" ? line.hosts.length : 1;
        }
      }
      line.open = [...line.ports.values()].reduce((total, each) => total + each.all, 0) / line.hosts.length;
    }
    // A firewall that does not block opens more than any list.
    for (const line of lines) line.open += (line.ports.get("*")?.all ?? 0) * 1e6 / line.hosts.length;
    lines.sort((a, b) => b.open - a.open || b.hosts.length - a.hosts.length);
    const cut = lines.slice(EXPOSURE_ROWS);
    const body = lines.slice(0, EXPOSURE_ROWS).map((line) => h("tr", null,
      h("th", {scope: "row"}, rowHead(line)),
      columns.map((port) => exposureCell(line.ports.get(port), line.hosts.length))));
    if (cut.length) {
      const counts = new Map();
      let total = 0;
      for (const line of cut) {
        total += line.hosts.length;
        for (const [port, each] of line.ports) {
          const sums = counts.get(port) ?? {all: 0, some: 0};
          counts.set(port, {all: sums.all + each.all, some: sums.some + each.some});
        }
      }
      body.push(h("tr", null, h("th", {scope: "row"}, `${plural(total, "host", "hosts")} in ${plural(cut.length, "group", "groups")} that open less`),
        columns.map((port) => exposureCell(counts.get(port), total))));
    }
    const portName = (port) => (port === "*" ? "every port" : port);
    const wide = [...ports].filter(([, each]) => each.all).sort((a, b) => (b[0] === "*") - (a[0] === "*") || b[1].all - a[1].all);
    groupField.value = grouping;
    return {
      title,
      wide: true,
      note: `${plural(hosts.length, "host", "hosts")}, ${plural(groups.size, "group", "groups")}. `
        + (wide.length ? `Open to all addresses: ${wide.slice(0, 6).map(([port, each]) => `${portName(port)} on ${plural(each.all, "host", "hosts")}`).join(", ")}${wide.length > 6 ? " and more" : ""}.` : "No port is open to all addresses."),
      drawn: [
        h("div", {class: "tools"}, h("label", null, "A row for each ", groupField),
          h("p", {class: "legend"}, h("span", null, h("b", {class: "all"}, "●"), " all addresses"), h("span", null, h("b", {class: "some"}, "◐"), " some addresses"), h("span", null, "blank: closed; * is every port, the firewall does not block"))),
        h("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": "Firewall exposure, hosts by ports"},
          h("table", {class: columns.length > 12 ? "exposure many" : "exposure"}, h("caption", {class: "unseen"}, "Inbound ports that are open, by hosts"),
            h("thead", null, h("tr", null, h("th", {scope: "col"}, grouping === "same" ? "Hosts" : "Cluster"), columns.map((port) => h("th", {scope: "col"}, port)))),
            h("tbody", null, body))),
      ],
    };
  }

  function rowHead(line) {
    if (grouping === "cluster") return [link(line.key, {cluster: line.key}), h("span", {class: "where"}, plural(line.hosts.length, "host", "hosts"))];
    const first = line.hosts[0].name;
    const said = line.hosts.length === 1 ? first : plural(line.hosts.length, "host", "hosts");
    return [link(said, {exposure: String(line.key)}, `Filter by ${line.hosts.length === 1 ? first : `the ${said} that open the same as ${first}`}`),
      line.hosts.length > 1 ? h("span", {class: "where"}, name(`${first} …`)) : null];
  }

  function exposureCell(each, total) {
    if (!each || !each.all && !each.some) return h("td", null, h("span", {class: "unseen"}, "closed"));
    const one = each.all === total ? "all" : each.some === total ? "some" : null;
    if (one) return h("td", {class: one}, h("span", {"aria-hidden": "true"}, OPEN[one][0]), h("span", {class: "unseen"}, OPEN[one][1]));
    const parts = ["all", "some"].filter((key) => each[key]);
    return h("td", {class: `mixed ${each.all ? "all" : "some"}`}, parts.map((key) => h("span", {class: key}, h("span", {"aria-hidden": "true"}, `${OPEN[key][0]}${fmt(each[key])}`), h("span", {class: "unseen"}, `${fmt(each[key])} ${OPEN[key][1]} `))));
  }

  // ---- drawing -------------------------------------------------------------------------------------------------------

  const judgedWords = new Set(targets.flatMap((target) => target.judged.map((each) => each.word)));
  const FIGURES = [
    ["feature", byFeature, () => true],
    ["cluster", byCluster, () => targets.some((target) => target.kind !== "endpoint")],
    ["skew", skew, () => targets.some((target) => target.clock)],
    ["locks", locks, () => judgedWords.has("crypto")],
    ["capacity", capacity, () => data.endpoints.some((endpoint) => endpoint.licenses.length)],
    ["expiry", expiry, () => data.endpoints.some((endpoint) => endpoint.licenses.some((each) => each.expires))],
    ["exposure", exposure, () => targets.some((target) => target.exposure >= 0)],
  ].filter(([, , there]) => there());
  const figures = new Map();
  for (const [key] of FIGURES) {
    const figure = h("figure", {id: `chart-${key}`, class: key === "exposure" ? "wide" : null, "aria-labelledby": `chart-${key}-title`});
    figures.set(key, figure);
    charts.append(figure);
  }

  function draw() {
    for (const [key, make] of FIGURES) {
      const figure = figures.get(key);
      const open = figure.querySelector("details")?.open;
      const focused = figure.contains(document.activeElement) && document.activeElement.id;
      const width = printing ? PAPER : Math.max(240, Math.floor(figure.clientWidth - 26));
      const {title, note, drawn, table: alternative, empty} = make(current, width);
      figure.replaceChildren(h("h3", {id: `chart-${key}-title`}, title), h("figcaption", null, empty ?? note), ...(drawn ?? []), ...(alternative ? [alternative] : []));
      if (open && alternative) alternative.open = true;
      if (focused) document.getElementById(focused)?.focus();
    }
  }

  let frame = 0;
  function show() {
    const begun = performance.now();
    current = chosen();
    sortRows(current.rows);
    showFilters();
    showRows();
    timing.table = performance.now() - begun;
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(() => {
      const drawing = performance.now();
      draw();
      timing.charts = performance.now() - drawing;
    });
  }

  function print(on) {
    if (printing === on) return;
    printing = on;
    showRows();
    draw();
  }

  // ---- begin ---------------------------------------------------------------------------------------------------------

  const timing = {};
  const theme = document.getElementById("theme");
  theme.parentElement.hidden = false;
  theme.addEventListener("change", () => {
    if (theme.value) document.documentElement.dataset.theme = theme.value;
    else delete document.documentElement.dataset.theme;
  });
  patterns();
  readHash();
  current = chosen();
  sortRows(current.rows);
  showFilters();
  showRows();
  timing.table = performance.now() - started;
  draw();
  timing.first = performance.now() - started;
  // Tests and the curious read it: milliseconds of the first view, and of the last change.
  document.documentElement.dataset.drawn = "yes";
  globalThis.fleetcareTiming = timing;

  addEventListener("hashchange", () => {
    if (location.hash && !location.hash.includes("=")) return;
    readHash();
    show();
    heading.focus({preventScroll: true});
    heading.scrollIntoView();
  });
  // The address keeps the filters, so the jump must not take it.
  document.querySelector("a.skip").addEventListener("click", (event) => {
    event.preventDefault();
    heading.focus();
  });
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
  let wide = charts.clientWidth;
  let resizing = 0;
  const root = document.documentElement;
  new ResizeObserver(() => root.style.setProperty("--filters", `${form.offsetHeight}px`)).observe(form);
  new ResizeObserver(() => {
    if (charts.clientWidth === wide) return;
    wide = charts.clientWidth;
    clearTimeout(resizing);
    resizing = setTimeout(draw, 100);
  }).observe(charts);
})();
