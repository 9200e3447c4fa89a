// What screen readers need and the theme, the gallery or pandas lack.
document.addEventListener("DOMContentLoaded", () => {
  const each = (where, change) => document.querySelectorAll(where).forEach(change);
  each(".search-button-field", (button) =>
    button.setAttribute("aria-label", button.textContent.trim().replace(/\s+/g, " ")));
  each("summary:has(.toctree-toggle)", (toggle) => toggle.setAttribute("aria-label", "Pages of this section"));
  each(".sphx-glr-thumbcontainer a.internal", (link) => link.setAttribute("aria-label", link.textContent));
  each(".bd-article table", (table) => {
    if (table.scrollWidth > table.clientWidth) table.tabIndex = 0;
  });
  each("table.dataframe th:empty", (cell) => cell.replaceWith(document.createElement("td")));
});
