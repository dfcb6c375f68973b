// Tables sort by a click on a column: numbers by their first figure, missing values last.
const missing = "–";
const figure = text => {
  const found = text.replace(/(\d),(?=\d{3})/g, "$1").match(/^[<>]?\s*([+-]?\d+(?:\.\d+)?)/);
  return found ? Number(found[1]) : null;
};
const compare = (a, b) => {
  const [x, y] = [figure(a), figure(b)];
  if (x !== null && y !== null) return x - y;
  return a.localeCompare(b, "en", {numeric: true});
};
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th"), column = head.cellIndex, body = head.closest("table").tBodies[0];
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentElement.cells) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const text = row => row.cells[column].textContent.trim();
    const rows = [...body.rows].sort((r, s) => {
      const [a, b] = [text(r), text(s)];
      if (a === missing || b === missing) return (a === missing) - (b === missing);
      return down ? compare(b, a) : compare(a, b);
    });
    body.append(...rows);
  });
}
// A link into a closed part opens it.
const reveal = () => document.getElementById(location.hash.slice(1))?.closest("details")?.setAttribute("open", "");
addEventListener("hashchange", reveal);
reveal();
