// What screen readers need and the theme, the gallery or pandas lack.
document.addEventListener("DOMContentLoaded", () => {
  const each = (where, change) => document.querySelectorAll(where).forEach(change);
  each(".search-button-field", (button) => button.removeAttribute("aria-label"));
  each("summary:has(.toctree-toggle)", (toggle) => toggle.setAttribute("aria-label", "Pages of this section"));
  each(".sphx-glr-thumbcontainer a.internal", (link) => link.setAttribute("aria-label", link.textContent));
  each("table.dataframe th:empty", (cell) => cell.replaceWith(document.createElement("td")));
});
