// The page's own script: the address follows the tabs, Back goes back, the page can be light or dark, and what a panel
// needs of the browser alone: the clipboard, figures as pictures, files to keep.
(() => {
  const shown = {}; // group: the panel that its tab shows
  const resting = {}; // panel: what it asks for once its controls rest
  const views = {}; // panel: its settings that are not at their defaults
  const card = (key) => document.querySelector(`#home a[data-key="${CSS.escape(key)}"]`);
  const visible = (id) => document.getElementById(id)?.offsetParent != null;
  const named = () => new URL(window.location).searchParams.getAll("tab").pop() ?? "home";

  // What draws figures and formulas. The address of a panel fetches it with the page and reads it once it is needed;
  // Home reads it, which takes a second, while the visitor looks around.
  const early = document.querySelector('meta[name="v-early"]').content.split(" ").map((part) => new URL(`assets/${part}`, document.baseURI).href);
  const add = (rel, href) => document.head.append(Object.assign(document.createElement("link"), { rel, href }));
  const [scripts, styles] = [".js", ".css"].map((kind) => early.filter((part) => part.endsWith(kind)));
  if (named() !== "home") scripts.forEach((part) => add("modulepreload", part));

  let read = false;
  const canDraw = () => read || window.Plotly !== undefined;

  async function warm() {
    styles.forEach((part) => add("stylesheet", part));
    await Promise.all(scripts.map((part) => import(part)));
    read = true;
  }

  let writing = 0; // the timer of an address that is about to be written
  let pending = null; // what it will do
  let wanted = named(); // the tab to turn to
  let link = named(); // until the page has turned to it, or the visitor elsewhere, nothing may overwrite it

  // Remember what a group shows, and say so in the address; a panel's settings leave and enter it with the panel.
  function say(key) {
    link = null;
    if (card(key)) shown[card(key).dataset.group] = key;
    if (named() === key) return;
    const url = new URL(window.location);
    const theme = url.searchParams.get("__theme");
    url.search = "";
    if (key !== "home") url.searchParams.set("tab", key);
    for (const [name, value] of Object.entries(views[key] ?? {})) url.searchParams.set(name, value);
    if (theme) url.searchParams.set("__theme", theme);
    window.history.pushState(null, "", url);
  }

  // The settings of a panel, whenever one has changed. usual: their defaults, by name; values: in the same order, then
  // the pinned view as a query.
  function settings(key, usual, values) {
    const names = Object.keys(usual);
    const changed = names.map((name, i) => [name, values[i]]).filter(([name, value]) => value !== usual[name] && value != null);
    views[key] = Object.fromEntries([...changed, ...new URLSearchParams(values[names.length] ?? "")]);
    window.clearTimeout(writing);
    pending = () => write(key, names);
    writing = window.setTimeout(flush, 300); // a slider on its way writes once, at its end
  }

  function flush() {
    window.clearTimeout(writing);
    pending?.();
    pending = null;
  }

  // The panel's view into the address, unless the visitor has left it meanwhile.
  function write(key, names) {
    if (link !== null || named() !== key) return;
    const url = new URL(window.location);
    const old = [...url.searchParams.keys()].filter((name) => names.includes(name) || name.startsWith("a."));
    for (const name of old) url.searchParams.delete(name);
    for (const [name, value] of Object.entries(views[key])) url.searchParams.set(name, value);
    if (url.href !== window.location.href) window.history.replaceState(null, "", url);
  }

  // A view has been drawn; once none has followed it for a while, the panel asks for what stands beside it.
  function rest(key) {
    window.clearTimeout(resting[key].timer);
    resting[key].timer = window.setTimeout(resting[key], 1000);
  }

  // The address of this view to the clipboard; without a secure page, by the old way.
  function copy() {
    link = null;
    flush();
    const url = new URL(window.location);
    url.searchParams.delete("__theme");
    if (window.isSecureContext) return void navigator.clipboard.writeText(url.href);
    const field = document.body.appendChild(Object.assign(document.createElement("textarea"), { value: url.href }));
    field.select();
    document.execCommand("copy");
    field.remove();
  }

  // Open a closed row and go to it.
  function unfold(id) {
    const row = document.getElementById(id);
    const door = row.querySelector("button.label-wrap");
    if (!door.classList.contains("open")) door.click();
    row.scrollIntoView({ behavior: "smooth", block: "start" });
    door.focus({ preventScroll: true });
  }

  // A drawn figure as a data URL, on white whatever the page's light is; empty while there is none.
  async function picture(id, format) {
    const graph = document.querySelector(`#${CSS.escape(id)} .js-plotly-plot`);
    if (!graph) return "";
    const layout = { ...graph.layout, paper_bgcolor: "#ffffff" };
    const { width, height } = graph.getBoundingClientRect();
    const size = { width: Math.max(width, 640), height, scale: 2 };
    const url = await window.Plotly.toImage({ data: graph.data, layout }, { format, ...size });
    if (format !== "svg") return url;
    const text = decodeURIComponent(url.slice(url.indexOf(",") + 1));
    const bytes = Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join("");
    return `data:image/svg+xml;base64,${window.btoa(bytes)}`;
  }

  // A file that the server has made, into the visitor's downloads.
  function save(file) {
    if (!file) return;
    const anchor = Object.assign(document.createElement("a"), { href: file.url, download: file.orig_name });
    anchor.click();
  }

  // A tab tells that it was selected, perhaps when the visitor has already gone on.
  function address(key) {
    if ((link === null || link === key) && visible(`tab-${key}`)) say(key);
  }

  // A group that was open before shows the same panel again; at its first opening that panel speaks for itself.
  function group(name) {
    if (link === null && shown[name] && visible(`group-${name}`)) say(shown[name]);
  }

  // Both rows of tabs turned to the wanted panel: updates for the groups' row, then for the row of each group.
  function turn(members) {
    const groups = Object.keys(members);
    const group = groups.find((name) => members[name].includes(wanted));
    const select = (id) => ({ __type__: "update", ...(id && { selected: id }) });
    return [select(wanted === "home" ? "home" : group), ...groups.map((name) => select(name === group && wanted))];
  }

  function open(key) {
    say(key);
    wanted = key;
    window.vitrine.turning();
  }

  // The name leads home without loading the page again.
  function home(event) {
    if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    open("home");
  }

  function paint(dark) {
    document.body.classList.toggle("dark", dark);
    document.querySelector("#v-theme")?.setAttribute("aria-pressed", dark);
  }

  // Once the header and the cards are there: the visitor's own choice of light or dark; a link to nothing is dropped.
  function ready() {
    const forced = new URL(window.location).searchParams.get("__theme");
    const chosen = forced ?? window.localStorage.getItem("vitrine-theme");
    paint(chosen ? chosen === "dark" : document.body.classList.contains("dark"));
    if (named() === "home") window.requestIdleCallback?.(warm, { timeout: 3000 });
    if (link === null || card(link)) return;
    if (link !== "home") window.history.replaceState(null, "", window.location.pathname);
    link = null;
  }

  function theme() {
    const dark = !document.body.classList.contains("dark");
    window.localStorage.setItem("vitrine-theme", dark ? "dark" : "light");
    paint(dark);
  }

  window.addEventListener("popstate", () => open(named()));
  window.addEventListener("click", (event) => event.isTrusted && (link = null), true);
  window.vitrine = { address, canDraw, copy, group, home, open, picture, ready, rest, resting, save, settings, theme, turn, unfold };
})();
