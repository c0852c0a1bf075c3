"use strict";
// Makes the columns of tables.sortable sortable. Without it the tables are read as they are.
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
