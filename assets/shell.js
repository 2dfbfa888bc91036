// The page's own script: the address follows the tabs, Back goes back, and the page can be light or dark.
(() => {
  const shown = {}; // group: the panel that its tab shows
  const card = (key) => document.querySelector(`#home a[data-key="${CSS.escape(key)}"]`);
  const named = () => new URL(window.location).searchParams.getAll("tab").pop() ?? "home";

  let link = named(); // until the page has turned to it, or the visitor elsewhere, nothing may overwrite it

  // Remember what a group shows, and say so in the address; a panel's settings leave it with the panel.
  function address(key) {
    if (link !== null && link !== key) return;
    link = null;
    if (card(key)) shown[card(key).dataset.group] = key;
    if (named() === key) return;
    const url = new URL(window.location);
    const theme = url.searchParams.get("__theme");
    url.search = "";
    if (key !== "home") url.searchParams.set("tab", key);
    if (theme) url.searchParams.set("__theme", theme);
    window.history.pushState(null, "", url);
  }

  // A group that was open before shows the same panel again; at its first opening that panel speaks for itself.
  function group(name) {
    if (shown[name]) address(shown[name]);
  }

  // Back and Forward: turn to the panel that the address names now.
  function back() {
    const key = named();
    if (card(key)) shown[card(key).dataset.group] = key;
    window.vitrine.turn?.(key);
  }

  // The name leads home without loading the page again.
  function home(event) {
    if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    window.vitrine.turn("home");
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
    if (card(link)) return;
    if (link !== "home") window.history.replaceState(null, "", "?");
    link = null;
  }

  function theme() {
    const dark = !document.body.classList.contains("dark");
    window.localStorage.setItem("vitrine-theme", dark ? "dark" : "light");
    paint(dark);
  }

  window.addEventListener("popstate", back);
  window.addEventListener("click", (event) => event.isTrusted && (link = null), true);
  window.vitrine = { address, group, home, ready, theme };
})();
