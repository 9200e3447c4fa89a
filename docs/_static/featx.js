// Names for screen readers that the theme lacks or gives otherwise than they are written.
document.addEventListener("DOMContentLoaded", () => {
  for (const button of document.querySelectorAll(".search-button-field")) button.removeAttribute("aria-label");
  for (const toggle of document.querySelectorAll("summary:has(.toctree-toggle)"))
    toggle.setAttribute("aria-label", "Pages of this section");
});
