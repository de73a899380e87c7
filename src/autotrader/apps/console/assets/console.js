"use strict";
// Keeps the page as it is in Airflow: every few seconds while somebody looks, and says so when it cannot.
(() => {
  const page = document.body;
  const state = document.getElementById("state");
  const seconds = Number(page.dataset.seconds);
  const PATIENCE_MS = 9000;
  let newest = state.querySelector("time").dateTime;
  let busy = false;

  const host = () => { try { return window.parent !== window && window.parent.document ? window.parent : null; } catch { return null; } };

  const follow_theme = () => {
    const above = host()?.document.documentElement.classList;
    if (above?.contains("dark") || above?.contains("light")) {
      document.documentElement.dataset.theme = above.contains("dark") ? "dark" : "light";
    }
  };

  const clock = (iso) => new Date(iso).toISOString().slice(11, 19) + " UTC";

  const say = (text, stale) => {
    page.classList.toggle("stale", stale);
    if (state.textContent !== text) { state.textContent = text; }
  };

  // What has not changed is left alone, so that nothing is lost: a selection, a focus, an opened list.
  const put = (id, html) => {
    const inside = document.querySelector(`#${CSS.escape(id)} > .inside`);
    if (!inside || inside.dataset.last === html) { return; }
    const open = [...inside.querySelectorAll("details[open][id]")].map((d) => d.id);
    const focused = inside.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    inside.dataset.last = html;
    inside.innerHTML = html;
    open.forEach((name) => { const d = document.getElementById(name); if (d) { d.open = true; } });
    if (focused) { inside.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus(); }
  };

  const refresh = async () => {
    if (document.hidden || busy) { return; }
    busy = true;
    follow_theme();
    try {
      const answer = await fetch(page.dataset.panels, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
      if (answer.status === 401) { say(`Stale since ${clock(newest)}: you are signed out of Airflow`, true); return; }
      if (!answer.ok) { throw new Error(`HTTP ${answer.status}`); }
      const found = await answer.json();
      Object.entries(found.panels).forEach(([id, html]) => put(id, html));
      newest = found.at;
      say(`Read at ${clock(newest)}`, false);
    } catch (error) {
      const why = error.message.startsWith("HTTP") ? `the server answers ${error.message}` : "the server does not answer";
      say(`Stale since ${clock(newest)}: ${why}`, true);
    } finally {
      busy = false;
    }
  };

  // Airflow's frame lets nothing out of it; the page around it may open what a person clicked on.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-out]");
    if (!link) { return; }
    event.preventDefault();
    (host() ?? window).open(link.href, "_blank", "noopener");
  });
  document.addEventListener("visibilitychange", refresh);
  follow_theme();
  setInterval(refresh, seconds * 1000);
})();
