"use strict";
// The page says everything without this: it copies commands, filters tables and prints what is folded.
document.querySelectorAll("[data-copy]").forEach(function (button) {
  button.hidden = false;
  button.addEventListener("click", function () {
    const code = button.parentElement.querySelector("code");
    const told = function (text) { button.textContent = text; };
    const selected = function () { window.getSelection().selectAllChildren(code); told("Selected"); };
    if (!navigator.clipboard) { selected(); return; }
    navigator.clipboard.writeText(code.textContent).then(function () { told("Copied"); }, selected);
  });
});
document.querySelectorAll("[data-filter]").forEach(function (field) {
  field.hidden = false;
  const select = field.querySelector("select");
  select.addEventListener("change", function () {
    document.querySelectorAll("#" + field.dataset.filter + " tbody tr[data-verdict]").forEach(function (row) {
      row.hidden = select.value !== "" && row.dataset.verdict !== select.value;
    });
  });
});
window.addEventListener("beforeprint", function () {
  document.querySelectorAll("details").forEach(function (each) { each.open = true; });
});
