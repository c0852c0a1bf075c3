"use strict";
// Makes the columns of table.sortable sortable. Without scripts the tables keep their order.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const headers = [...table.tHead.rows[0].cells];
  const keys = (row, column) => {
    const cell = row.cells[column];
    const exact = cell.dataset.value;
    return exact === undefined || exact === "" ? cell.textContent.trim() : exact;
  };
  const sort = (column, button) => {
    const header = headers[column];
    const sign = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of headers) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
    const rows = [...body.rows].map((row) => [keys(row, column), row]);
    rows.sort(([a], [b]) => {
      const x = Number(a), y = Number(b);
      const numbers = a !== "" && b !== "" && !Number.isNaN(x) && !Number.isNaN(y);
      return sign * (numbers ? x - y : a.localeCompare(b, "en", { numeric: true }));
    });
    for (const [, row] of rows) body.append(row);
  };
  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => sort(column, button));
  });
}
// Adds a filter above table.filterable for each column with data-filter.
for (const table of document.querySelectorAll("table.filterable")) {
  const rows = [...table.tBodies[0].rows];
  const bar = document.createElement("div");
  const found = document.createElement("output");
  const chosen = new Map();
  const apply = () => {
    let shown = 0;
    for (const row of rows) {
      row.hidden = [...chosen].some(([column, value]) => value !== "" && row.cells[column].textContent.trim() !== value);
      shown += row.hidden ? 0 : 1;
    }
    found.textContent = `${shown} of ${rows.length} rows`;
  };
  bar.className = "filters";
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    if (header.dataset.filter === undefined) return;
    const label = document.createElement("label");
    const select = document.createElement("select");
    const values = [...new Set(rows.map((row) => row.cells[column].textContent.trim()))].sort();
    for (const value of ["", ...values]) select.append(new Option(value || "all", value));
    select.addEventListener("change", () => { chosen.set(column, select.value); apply(); });
    label.append(header.textContent.trim(), " ", select);
    bar.append(label);
  });
  bar.append(found);
  table.closest(".scroll").before(bar);
  apply();
}
// Opens the details that the address names.
const open = () => {
  const named = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (named instanceof HTMLDetailsElement) named.open = true;
};
window.addEventListener("hashchange", open);
open();
