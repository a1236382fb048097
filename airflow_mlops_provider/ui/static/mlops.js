/* The theme of the page around, links out of the frame, what is being loaded, and the two actions, which go through
   Airflow's own API. */
"use strict";

(() => {
  const root = document.documentElement;
  const framed = window.parent !== window;

  /* Airflow keeps its theme as a class of its own page, and in the storage that we share with it. */
  const theme = () => {
    try {
      const outer = window.parent.document.documentElement;
      for (const name of ["dark", "light"]) if (framed && outer.classList.contains(name)) return name;
      const kept = localStorage.getItem("theme");
      if (kept === "dark" || kept === "light") return kept;
    } catch (_) { /* another origin, or no storage: the browser's own preference holds */ }
    return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  };
  /* Stored reports have no origin here, so their address carries the theme. */
  const paint = () => {
    root.dataset.theme = theme();
    const search = `?theme=${root.dataset.theme}`;
    for (const link of document.querySelectorAll("a[data-themed]")) link.search = search;
    for (const frame of document.querySelectorAll("iframe[data-src]")) {
      if (frame.getAttribute("src") !== frame.dataset.src + search) frame.src = frame.dataset.src + search;
    }
  };
  paint();
  document.addEventListener("DOMContentLoaded", paint);
  addEventListener("storage", paint);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  try {
    if (framed) {
      new MutationObserver(paint).observe(window.parent.document.documentElement, { attributeFilter: ["class"] });
    }
  } catch (_) { /* another origin */ }

  /* A page stays until the next one answers, and says meanwhile what it waits for. A fast answer comes before a word. */
  const LOADING_MS = 250, SLOW_MS = 4000;
  let timers = [];
  const load = (what) => {
    const status = document.getElementById("loading");
    const words = `Loading ${what.trim()}…`;
    timers.forEach(clearTimeout);
    timers = [
      setTimeout(() => { status.textContent = words; }, LOADING_MS),
      setTimeout(() => { status.textContent = `${words} ${status.dataset.slow}`; }, SLOW_MS),
    ];
  };
  document.addEventListener("DOMContentLoaded", () => {
    if (document.querySelector("meta[http-equiv=refresh]")) load(document.title);
  });
  addEventListener("pageshow", ({ persisted }) => {
    if (!persisted) return;
    timers.forEach(clearTimeout);
    document.getElementById("loading").textContent = "";
  });

  const say = (text) => { document.getElementById("said").textContent = text; };

  const api = async (method, path, body) => {
    const answer = await fetch(`${document.body.dataset.airflow}/api/v2/${path}`, {
      method, credentials: "same-origin",
      headers: { "Content-Type": "application/json", Accept: "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const told = await answer.json().catch(() => ({}));
    if (answer.ok) return told;
    const detail = typeof told.detail === "string" ? told.detail : JSON.stringify(told.detail ?? answer.statusText);
    throw new Error(answer.status === 403 ? "You do not have permission to start this DAG." : detail);
  };

  /* Wait for the run, so that the page shows what came of it. */
  const follow = async (dag, run) => {
    const path = `dags/${encodeURIComponent(dag)}/dagRuns/${encodeURIComponent(run)}`;
    for (;;) {
      const { state } = await api("GET", path);
      say(`${dag}: ${state}`);
      if (state === "success") {
        load(document.title);
        return location.reload();
      }
      if (state === "failed") return say(`${dag} failed; its log says why.`);
      await new Promise((done) => setTimeout(done, 1000));
    }
  };

  const start = async (form) => {
    const dag = form.dataset.dag;
    const conf = Object.fromEntries([...new FormData(form)].filter(([, value]) => value.trim() !== ""));
    const error = form.querySelector(".error");
    error.textContent = conf.reason ? "" : "A reason is required.";
    if (!conf.reason) return;
    const submit = form.querySelector("[type=submit]");
    submit.disabled = true;
    try {
      const path = `dags/${encodeURIComponent(dag)}/dagRuns`;
      const run = await api("POST", path, { logical_date: null, conf, note: conf.reason });
      form.closest("dialog").close();
      form.reset();
      await follow(dag, run.dag_run_id);
    } catch (wrong) {
      error.textContent = wrong.message;
      say(wrong.message);
    } finally {
      submit.disabled = false;
    }
  };

  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-dialog]");
    if (opener) document.getElementById(opener.dataset.dialog).showModal();
    const closer = event.target.closest("[data-close]");
    if (closer) closer.closest("dialog").close();
    const outside = event.target.closest("a[data-outside]");
    if (outside && framed) {
      /* A frame may not lead its parent anywhere, but the parent's own link may. */
      event.preventDefault();
      const link = window.parent.document.createElement("a");
      link.href = outside.href;
      link.click();
    }
    const inside = event.target.closest("a[href]:not([data-outside])");
    if (inside && !(event.ctrlKey || event.metaKey || event.shiftKey)) load(inside.textContent);
  });

  document.addEventListener("submit", (event) => {
    if (event.target.dataset.dag) {
      event.preventDefault();
      start(event.target);
    } else {
      load(document.title);
    }
  });
})();
