"use strict";
const every = 2000, $ = id => document.getElementById(id);
let last = null, now = null, paused = false, open = new Set(), texts = new Map();

// get asks the server. An answer that takes too long is an error.
const get = url => fetch(url, { cache: "no-store", signal: AbortSignal.timeout(10000) });

// el makes an element; text goes in as text, so that no name can be markup.
function el(tag, attrs, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attrs || {})) if (v !== undefined) e.setAttribute(k, v);
  for (const c of children.flat(Infinity)) if (c !== null && c !== undefined) e.append(c);
  return e;
}
function num(n, digits) { return n >= 100 ? Math.round(n).toLocaleString("en") : n.toFixed(digits ?? (n % 1 ? 1 : 0)); }
function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let u = 0, v = Math.abs(n);
  while (v >= 1024 && u < 4) { v /= 1024; u++; }
  return (n < 0 ? "−" : "") + (u ? v.toFixed(v < 10 ? 2 : v < 100 ? 1 : 0) : v) + " " + units[u];
}
function count(n) {
  if (n < 1e4) return String(Math.round(n));
  for (const [unit, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]])
    if (n >= size) return (n / size).toFixed(n / size < 10 ? 2 : n / size < 100 ? 1 : 0) + " " + unit;
}
function secs(s) {
  if (s >= 90) return (s / 60).toFixed(1) + " min";
  return s >= 1 ? s.toFixed(1) + " s" : s >= 1e-3 ? (s * 1e3).toFixed(1) + " ms" : Math.round(s * 1e6) + " µs";
}
function percent(r) { return r < 0 ? "–" : (r * 100).toFixed(r > 0.9995 || r < 0.1 ? 1 : r > 0.99 ? 2 : 1) + " %"; }
const sum = (list, f) => (list || []).reduce((n, x) => n + f(x), 0);
const list = l => l || [];
function facts(...pairs) {
  return el("dl", {}, pairs.filter(p => p).map(([k, v, cls]) => [el("dt", {}, k), el("dd", { class: cls }, v)]));
}
function panel(title, ...rest) { return el("div", { class: "panel" }, el("h3", {}, title), ...rest); }

// few returns the first panels, and a button that shows the others as well, or only the first.
const most = 5, whole = new Set();
function few(id, panels, what) {
  if (panels.length <= most + 1) return panels;
  const button = el("button", { type: "button", class: "more", "aria-expanded": whole.has(id), "data-more": id },
    whole.has(id) ? "only " + most : "and " + (panels.length - most) + " more " + what);
  button.onclick = () => { whole.has(id) ? whole.delete(id) : whole.add(id); draw(); };
  return [...(whole.has(id) ? panels : panels.slice(0, most)), button];
}
// largest compares two rows by the first of the keys in which they differ, the greater first.
const largest = (...keys) => (a, b) => { for (const k of keys) if (a[k] !== b[k]) return b[k] - a[k]; return 0; };

// rates of what has happened since the last answer; whole lives at the first one.
function withRates(data) {
  const before = new Map(list(last && last.Caches).map(c => [c.Name, c]));
  const dt = last ? data.time - last.time : 0;
  for (const c of list(data.Caches)) {
    const b = before.get(c.Name), d = k => c[k] - b[k];
    const sane = b && dt > 0 && d("Allocs") >= 0 && d("Frees") >= 0;
    c.allocRate = sane ? d("Allocs") / dt : undefined;
    c.freeRate = sane ? d("Frees") / dt : undefined;
    c.hit = sane && d("Allocs") > 0 ? Math.max(0, 1 - (d("Slow") + d("Refilled")) / d("Allocs")) : c.HitRate;
    c.wasted = c.SlabBytes - c.InUseBytes;
  }
  return data;
}

function drawSummary(d) {
  const inUse = sum(d.Caches, c => c.InUseBytes), slabs = sum(d.Caches, c => c.SlabBytes);
  const resident = sum(d.Arenas, a => a.Mapped + a.MappedFree + sum(a.Nodes, n => n.Used + n.Dirty));
  const limit = sum(d.Arenas, a => a.Limit), waiting = sum(d.Backlogs, b => b.Bytes);
  const oldest = Math.max(0, ...list(d.Domains).map(x => x.OldestSeconds));
  const failures = sum(d.Caches, c => c.Failures), rate = sum(d.Caches, c => c.allocRate || 0);
  const card = (label, value, note, cls) =>
    el("div", { class: "card" }, el("small", {}, label), el("b", { class: cls }, value), el("small", {}, note || " "));
  $("summary").replaceChildren(
    card("objects in use", bytes(inUse), count(sum(d.Caches, c => c.InUse)) + " objects"),
    card("slabs", bytes(slabs), slabs ? percent(inUse / slabs) + " in use" : ""),
    card("resident in arenas", bytes(resident), limit ? "limits: " + bytes(limit) : "no limit"),
    card("wait for readers", bytes(waiting), oldest ? "oldest reader " + secs(oldest) : "no reader in the way", oldest > 10 ? "bad" : ""),
    card("allocations", list(d.Caches).some(c => c.allocRate !== undefined) ? count(rate) + "/s" : "–", d.Engine + (d.Reason ? ": " + d.Reason : "")),
    card("failed allocations", count(failures), "in all", failures ? "bad" : ""));
}

function drawArenas(d) {
  const widest = Math.max(1, ...list(d.Arenas).flatMap(a => list(a.Nodes).map(n => n.Used + n.Dirty + n.Clean)));
  $("arenas").replaceChildren(...list(d.Arenas).map(a => el("div", { class: "arena" },
    el("h3", {}, a.Name, " ", el("small", { class: a.NearLimit ? "bad" : "" }, bytes(a.InUse) +
      (a.Limit ? " of " + bytes(a.Limit) + " (" + percent(a.InUse / a.Limit) + ")" : ", no limit") + (a.NearLimit ? ", near the limit" : ""))),
    list(a.Nodes).map(n => {
      const part = (cls, b) => el("i", { class: cls, style: "width:" + (100 * b / widest) + "%", title: cls + " " + bytes(b) });
      return el("div", { class: "node" }, el("span", {}, "node " + n.Node),
        el("div", { class: "bar", role: "img", "aria-label": "used " + bytes(n.Used) + ", dirty " + bytes(n.Dirty) + ", clean " + bytes(n.Clean) },
          part("used", n.Used - n.Misplaced), part("misplaced", n.Misplaced), part("dirty", n.Dirty), part("clean", n.Clean)),
        el("span", { class: "figures" }, `used ${bytes(n.Used)}, dirty ${bytes(n.Dirty)}, clean ${bytes(n.Clean)}` +
          (n.Misplaced ? `, misplaced ${bytes(n.Misplaced)}` : "") + (n.Placement ? `; ${n.Placement}` : "")));
    }),
    a.Mapped || a.MappedFree ? el("p", { class: "dim" }, "mappings of their own: " + bytes(a.Mapped) + " used, " + bytes(a.MappedFree) + " dirty") : null)));
}

function drawRCU(d) {
  $("rcu").replaceChildren(
    ...list(d.Domains).map(x => panel("domain " + (x.Name || "without a name"), facts(
      ["oldest reader", x.OldestSeconds ? secs(x.OldestSeconds) : "none in the way", x.OldestSeconds > 10 ? "bad" : ""],
      x.OldestSeconds ? ["which", x.OldestName || "sections of Enter"] : null,
      x.OldestPlace ? ["where", x.OldestPlace.split("/").slice(-2).join("/")] : null,
      ["sections", x.Open + " open" + (x.SectionSecond ? ", in the way for " + secs(x.SectionSecond) : "")],
      ["readers", x.Readers + ", " + x.Online + " online"],
      ["grace periods", count(x.GracePeriods) + (x.MeanSeconds ? ", mean " + secs(x.MeanSeconds) : "")],
      ["stalls", String(x.Stalls), x.Stalls ? "bad" : ""],
      ["callbacks", x.Pending + " pending"]))),
    ...few("backlogs", list(d.Backlogs).filter(b => b.Bytes || b.Peak).sort(largest("Overruns", "Waits", "Bytes", "Peak")).map(b => panel("backlog " + b.Name, facts(
      ["waits now", bytes(b.Bytes)], ["at most", bytes(b.Peak)],
      ["soft limit", b.Soft ? bytes(b.Soft) : "none"], ["hard limit", b.Hard ? bytes(b.Hard) + " (" + percent(b.Charged / b.Hard) + ")" : "none"],
      ["FreeRCU waited", count(b.Waits) + " times, " + secs(b.WaitedSeconds)], ["overruns", String(b.Overruns), b.Overruns ? "bad" : ""]))), "backlogs"));
}

// fillOf draws a bar for each CPU; on a large machine one for several side by side.
const mostBars = 16;
function fillOf(c) {
  const cap = Math.max(1, 2 * c.SheafCapacity), cpus = list(c.CPUs), each = Math.max(1, Math.ceil(cpus.length / mostBars));
  const bar = (share, title, cls) => el("s", { class: cls, title, style: "--h:" + Math.min(100, 100 * share).toFixed(0) + "%" });
  const bars = [];
  for (let i = 0; i < cpus.length; i += each) {
    const part = cpus.slice(i, i + each), p = part[0], total = k => sum(part, x => x[k]);
    const name = each === 1 ? `CPU ${p.CPU}, node ${p.Node}` : `CPUs ${p.CPU} to ${part[part.length - 1].CPU}`;
    bars.push(bar((total("Main") + total("Spare")) / cap / part.length,
      `${name}: main ${total("Main")}, spare ${total("Spare")}, rcu_free ${total("RCU")}`));
  }
  return el("span", { class: "fill" }, bars);
}
function barnOf(c) {
  const max = Math.max(1, c.MaxBarnFull);
  return el("span", { class: "fill" }, list(c.Nodes).map(n => [
    el("s", { title: `node ${n.Node}: ${n.Full} full sheaves of at most ${c.MaxBarnFull}, ${n.Empty} empty`, style: "--h:" + Math.min(100, 100 * n.Full / max) + "%" }),
    n.Waiting ? el("s", { class: "rcu", title: `node ${n.Node}: ${n.Waiting} sheaves wait for a grace period`, style: "--h:" + Math.min(100, 100 * n.Waiting / max) + "%" }) : null]));
}
const columns = ["cache", "in use", "slabs", "in use of slabs", "hit rate", "allocs/s", "frees/s", "CPUs' sheaves", "barns", "waiting", "failed"];
function drawCaches(d) {
  const want = $("filter").value.toLowerCase(), by = $("sort").value;
  const all = list(d.Caches);
  const rows = all.filter(c => [c.Name, c.Arena, c.Group, c.Buckets, c.Domain].join(" ").toLowerCase().includes(want));
  const key = c => by === "HitRate" ? c.hit : c[by] ?? -1;
  rows.sort((a, b) => by === "Name" ? a.Name.localeCompare(b.Name, "en", { numeric: true }) : by === "HitRate" ? key(a) - key(b) : key(b) - key(a));
  $("count").textContent = rows.length === all.length ? all.length : rows.length + " of " + all.length;
  const body = rows.flatMap(c => {
    const cells = [bytes(c.InUseBytes), bytes(c.SlabBytes), c.SlabBytes ? percent(c.InUseBytes / c.SlabBytes) : "–", percent(c.hit),
      c.allocRate === undefined ? "–" : count(c.allocRate), c.freeRate === undefined ? "–" : count(c.freeRate),
      fillOf(c), barnOf(c), count(c.Waiting), count(c.Failures)];
    const name = el("button", { type: "button", "aria-expanded": open.has(c.Name), "data-cache": c.Name }, c.Name);
    name.onclick = () => { open.has(c.Name) ? open.delete(c.Name) : (open.add(c.Name), details(c.Name)); draw(); };
    const row = el("tr", {}, el("td", { class: "name" }, name),
      cells.map((v, i) => el("td", { "data-l": columns[i + 1], class: i === 9 && c.Failures ? "bad" : undefined }, v)));
    if (!open.has(c.Name)) return [row];
    const of = [["size", c.Size + " B"], ["arena", c.Arena], ["domain", c.Domain || "–"], c.Buckets && ["Buckets", c.Buckets], c.Group && ["group", c.Group],
      ["in sheaves", c.Sheaf], ["in barns", c.Barn], ["free in slabs", c.InSlabs], ["deferred", c.Deferred], c.IsolatedSlabs && ["isolated slabs", c.IsolatedSlabs]];
    return [row, el("tr", { class: "detail" }, el("td", { class: "detail", colspan: columns.length },
      el("p", { class: "dim" }, of.filter(x => x).map(([k, v]) => k + " " + v).join(" · ")),
      el("pre", {}, texts.get(c.Name) || "asking …")))];
  });
  // The buttons are new ones: the one of the same cache gets the keyboard's focus.
  const focused = document.activeElement && document.activeElement.dataset.cache;
  $("caches").replaceChildren(el("table", {}, el("thead", {}, el("tr", {}, columns.map(c => el("th", { scope: "col" }, c)))), el("tbody", {}, body)));
  if (focused === undefined) return;
  const button = [...$("caches").querySelectorAll("button")].find(b => b.dataset.cache === focused);
  if (button) button.focus({ preventScroll: true });
}
async function details(name) {
  try {
    const r = await get("counters?cache=" + encodeURIComponent(name));
    if (r.status === 404) { // the cache has been closed
      open.delete(name);
      texts.delete(name);
    } else if (!r.ok) throw new Error("status " + r.status);
    else texts.set(name, (await r.text()).trimEnd());
  } catch (e) { texts.set(name, "no answer: " + e.message); }
  if (now) drawCaches(now);
}

function drawSites(d) {
  const p = d.Profile, rows = list(p.Sites);
  if (!rows.length) {
    $("sites").replaceChildren(el("p", { class: "dim" }, "Nothing was sampled. Start with SLUBD_PROFILE_RATE=524288, or set Config.ProfileRate."));
    return;
  }
  const head = ["call site", "in use", "share", "objects", "cache", "ever allocated"];
  $("sites").replaceChildren(el("table", {}, el("thead", {}, el("tr", {}, head.map(h => el("th", {}, h)))), el("tbody", {}, rows.map(s => el("tr", {},
    el("td", { class: "name" }, s.Function, " ", el("small", {}, s.Place)),
    [bytes(s.InUseBytes), percent(p.InUseBytes ? s.InUseBytes / p.InUseBytes : -1), count(s.InUse), s.Cache, bytes(s.AllocBytes)]
      .map((v, i) => el("td", { "data-l": head[i + 1] }, v)))))),
    p.Dropped ? el("p", { class: "dim" }, count(p.Dropped) + " samples were not taken: near a limit, beyond 131,072 in use, or by AllocNoWait and MallocNoWait.") : "");
}

function drawPressure(d) {
  $("pressure").replaceChildren(...list(d.Arenas).map(a => panel(a.Name, facts(
    ["limit", a.Limit ? bytes(a.Limit) : "none", a.NearLimit ? "bad" : ""],
    ["rounds before failing", count(a.Rounds) + ", " + count(a.Helped) + " helped", a.Rounds > a.Helped ? "bad" : ""],
    ["given back in rounds", count(a.Objects) + " objects"], ["given back when idle", bytes(a.Decayed)],
    ["refused by the kernel", String(a.Refused), a.Refused ? "bad" : ""], ["page map", bytes(a.PageMap)],
    ...list(a.Shrinkers).map(s => ["shrinker " + s.Name, count(s.Calls) + " calls, " + count(s.Freed) + " freed"])))));
  $("groups-section").hidden = !list(d.Groups).length;
  $("groups").replaceChildren(...few("groups", list(d.Groups).sort(largest("Failures", "Bytes")).map(g => panel(g.Name + (g.Parent ? " of " + g.Parent : ""), facts(
    ["charged", bytes(g.Bytes)], ["at most", bytes(g.Peak)], ["limit", g.Limit ? bytes(g.Limit) + " (" + percent(g.Bytes / g.Limit) + ")" : "none"],
    ["failures", String(g.Failures), g.Failures ? "bad" : ""], ["caches", String(g.Caches)]))), "groups"));
}

function draw() {
  if (!now) return;
  const focused = document.activeElement && document.activeElement.dataset.more;
  for (const part of [drawSummary, drawArenas, drawRCU, drawCaches, drawSites, drawPressure]) part(now);
  const button = focused && document.querySelector(`[data-more="${focused}"]`); // a new one, as in drawCaches
  if (button) button.focus({ preventScroll: true });
}
// say changes the status, which a screen reader then reads out, only if it has changed.
function say(text, cls) {
  const status = $("status");
  if (status.textContent !== text) status.textContent = text;
  status.className = cls;
}
async function ask() {
  if (!paused && !document.hidden) {
    try {
      const r = await get("data.json");
      if (!r.ok) throw new Error("status " + r.status);
      const data = withRates(await r.json());
      last = now = data;
      say("process " + data.pid + ", " + data.go, "");
      $("time").textContent = new Date(data.time * 1000).toLocaleTimeString("en-GB");
      for (const name of open) details(name);
      draw();
      document.body.dataset.drawn = String(1 + Number(document.body.dataset.drawn || 0));
    } catch (e) {
      say("no answer: " + e.message, "bad");
    }
  }
  setTimeout(ask, every);
}
$("pause").onclick = () => { paused = !paused; $("pause").textContent = paused ? "go on" : "pause"; };
$("filter").oninput = draw;
$("sort").onchange = draw;
// A link to one cache: #NAME. What no name is encoded as, such as #%, opens none.
try {
  const linked = decodeURIComponent(location.hash.slice(1));
  if (linked) open.add(linked);
} catch (e) { if (!(e instanceof URIError)) throw e; }
ask();
