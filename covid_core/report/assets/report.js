"use strict";
/* Draws the charts of the report and saves what its buttons name. Everything comes from the file; nothing is fetched. */
(() => {
  const PAPER = { ground: "#ffffff", ink: "#1c2830" };
  const PAPER_PIXELS = 680; // A4 less its margins, 182 mm at 96 pixels an inch, less what a browser rounds
  const PICTURE_PIXELS = 760; // a picture is as wide as this, also from a telephone
  const MARK = "\ufeff"; // spreadsheets recognise UTF-8 by it
  const CONFIG = { responsive: true, displayModeBar: false };
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const place = (name) => document.getElementById(`chart-${name}`);
  const names = Object.keys(data.charts);

  // Plotly works in the objects that it is given, so each drawing gets its own.
  function figure(name) {
    const { data: traces, layout } = structuredClone(data.charts[name]);
    return { data: traces, layout: { ...layout, dragmode: false } };
  }

  function draw(name, size) {
    const { data: traces, layout } = figure(name);
    const font = { family: getComputedStyle(document.body).fontFamily, ...layout.font };
    return Plotly.newPlot(place(name), traces, { ...layout, font, ...size }, CONFIG);
  }

  function saveTable(name) {
    const address = URL.createObjectURL(new Blob([MARK, data.tables[name]], { type: "text/csv;charset=utf-8" }));
    const link = document.createElement("a");
    link.href = address;
    link.download = `${name}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  }

  function savePicture(name, format) {
    const { data: traces, layout } = figure(name);
    const paper = {
      ...layout,
      font: { family: "Arial, sans-serif", ...layout.font, color: PAPER.ink },
      paper_bgcolor: PAPER.ground,
      plot_bgcolor: PAPER.ground,
    };
    const height = layout.height || place(name).clientHeight;
    const scale = format === "png" ? 2 : 1;
    const size = { width: PICTURE_PIXELS, height, scale };
    return Plotly.downloadImage({ data: traces, layout: paper }, { format, filename: name, ...size });
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-kind]");
    if (!button) return;
    const { kind, name } = button.dataset;
    if (kind === "csv") saveTable(name);
    else savePicture(name, kind);
  });

  // On paper charts are as wide as the sheet, and folded tables are open. Drawn anew, as a legend keeps the room it had.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    opened.forEach((one) => { one.open = true; });
    names.forEach((name) => draw(name, { autosize: false, width: PAPER_PIXELS }));
  });
  addEventListener("afterprint", () => {
    opened.forEach((one) => { one.open = false; });
    names.forEach((name) => draw(name));
  });

  names.forEach((name) => draw(name));
})();
