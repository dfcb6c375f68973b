// Tables sort by a click on a column, within each group: numbers by their first figure, missing values last.
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
    const head = button.closest("th"), column = head.cellIndex;
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentElement.cells) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const text = row => row.cells[column].textContent.trim();
    for (const body of head.closest("table").tBodies) {
      const rows = [...body.rows].filter(row => !row.classList.contains("group")).sort((r, s) => {
        const [a, b] = [text(r), text(s)];
        if (a === missing || b === missing) return (a === missing) - (b === missing);
        return down ? compare(b, a) : compare(a, b);
      });
      body.append(...rows);
    }
  });
}
// On a narrow screen the sections start closed, and their titles are the contents.
if (matchMedia("(max-width: 600px)").matches && matchMedia("screen").matches)
  for (const section of document.querySelectorAll("details.section")) section.open = false;
// A link into closed parts opens them.
const reveal = () => {
  const target = document.getElementById(location.hash.slice(1));
  for (let part = target?.closest("details"); part; part = part.parentElement.closest("details")) part.open = true;
  target?.scrollIntoView();
};
addEventListener("hashchange", reveal);
reveal();
// Paper can't be clicked: it gets every part.
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const part of opened) part.open = true;
});
addEventListener("afterprint", () => { for (const part of opened) part.open = false; });
