// Headings of sortable tables become buttons. Without this script the table stands in the order of the experiment.
"use strict";
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const headings = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const told = table.parentElement.querySelector("[role=status]");
  const original = [...body.rows];
  // A cell says by `data-value` what it is sorted by; numbers are compared as numbers, everything else as text.
  const value = (row, at) => row.cells[at].dataset.value ?? row.cells[at].textContent.trim();
  const compare = (a, b) => {
    const [x, y] = [Number(a), Number(b)];
    const numbers = [a !== "" && !Number.isNaN(x), b !== "" && !Number.isNaN(y)];
    if (numbers[0] && numbers[1]) return x - y;
    return numbers[0] !== numbers[1] ? (numbers[0] ? -1 : 1) : a.localeCompare(b, "en", { numeric: true });
  };
  headings.forEach((heading, at) => {
    const name = heading.textContent;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    heading.replaceChildren(button);
    heading.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      // Up, down, and back to the order of the experiment.
      const next = { none: "ascending", ascending: "descending", descending: "none" }[heading.getAttribute("aria-sort")];
      for (const other of headings) other.setAttribute("aria-sort", "none");
      heading.setAttribute("aria-sort", next);
      const rows = [...original];
      if (next !== "none") rows.sort((a, b) => compare(value(a, at), value(b, at)));
      // Reversed as a whole, equal rows would change places; so the comparison is turned round.
      if (next === "descending") rows.sort((a, b) => compare(value(b, at), value(a, at)));
      body.append(...rows);
      if (told) told.textContent = next === "none" ? "In the order of the experiment" : `Sorted by ${name}, ${next}`;
    });
  });
}
