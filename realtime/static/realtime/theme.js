// @ts-check
/**
 * Light or dark: the system's choice unless the reader made one. A classic script in the head, so
 * that the page is never painted in the wrong colours first.
 */
"use strict";

(() => {
  const KEY = "signalbox-theme";
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;

  function chosen() {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // storage is not allowed: the system's choice it is
    }
  }

  function isDark() {
    return (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  }

  /** @param {string | null} theme */
  function apply(theme) {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
    document.getElementById("theme")?.setAttribute("aria-pressed", String(isDark()));
  }

  function toggle() {
    const wanted = isDark() ? "light" : "dark";
    const follows = wanted === (system.matches ? "dark" : "light");
    try {
      if (follows) localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, wanted);
    } catch {
      // The choice then lasts as long as the page.
    }
    apply(follows ? null : wanted);
  }

  apply(chosen());
  system.addEventListener("change", () => apply(chosen()));
  window.addEventListener("storage", (event) => {
    if (event.key === KEY) apply(event.newValue);
  });
  document.addEventListener("DOMContentLoaded", () => {
    apply(chosen());
    document.getElementById("theme")?.addEventListener("click", toggle);
  });
})();
