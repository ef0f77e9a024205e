"""Style and script of the report's page."""

STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --soft: #5a5a5a; --line: #e2e2e2;
        --paper: #fff; --raised: #f5f5f5; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --soft: #a8a8a8; --line: #3a3a3a; --paper: #161616; --raised: #222; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1240px;
       padding: 1rem; color: var(--ink); background: var(--paper); }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .25rem 0 1rem; }
h2 { font-size: 1.15rem; line-height: 1.3; margin: 2rem 0 .25rem; }
h3 { font-size: .875rem; font-weight: 600; margin: 0 0 .25rem; }
p.caption, p.note { margin: 0 0 .75rem; color: var(--soft); font-size: .875rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr));
          gap: 1rem 1.5rem; }
.panel { min-width: 0; }
.chart { width: 100%; height: 300px; }
[hidden] { display: none !important; }
.legend { display: flex; flex-wrap: wrap; gap: .35rem .5rem; align-items: center; margin: .5rem 0; }
.legend span.of { color: var(--soft); font-size: .8125rem; flex-basis: 100%; }
.legend button { font: inherit; font-size: .8125rem; line-height: 1.4; color: var(--ink);
  background: var(--raised); border: 1px solid var(--line); border-radius: 1rem;
  padding: .15rem .7rem .15rem .5rem; cursor: pointer; text-align: left; max-width: 100%; }
.legend button[aria-pressed=true] { border-color: var(--ink); font-weight: 600; }
.legend i { display: inline-block; width: 1rem; height: .25rem; border-radius: 2px;
            vertical-align: middle; margin-right: .4rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .8125rem; }
th, td { padding: .25rem .5rem; text-align: right; border-bottom: 1px solid var(--line);
         vertical-align: top; }
td { white-space: nowrap; }
th { font-weight: 600; vertical-align: bottom; }
th.text, td.text { text-align: left; white-space: normal; min-width: 6rem; }
@media (max-width: 640px) {
  #summary table, #summary tbody, #summary tr, #summary td { display: block; min-width: 0; }
  #summary thead { display: none; }
  #summary tr { border: 1px solid var(--line); border-radius: .5rem; margin: 0 0 .75rem;
                padding: .25rem .75rem; }
  #summary td { text-align: right; border: 0; white-space: normal; display: flex; gap: 1rem;
                justify-content: space-between; padding: .15rem 0; }
  #summary td::before { content: attr(data-title); color: var(--soft); text-align: left; }
  #summary td[colspan] { text-align: left; }
  #summary td:empty { display: none; }
}
details { margin: 1rem 0; } summary { cursor: pointer; font-weight: 600; }
#vg-tooltip-element { font: 13px/1.4 system-ui, sans-serif; color: var(--ink);
                      background: var(--paper); border-color: var(--line); }
#vg-tooltip-element table tr td.key { color: var(--soft); }
"""

SCRIPT = """
const specs = [...document.querySelectorAll('script[data-chart]')].map(
  element => [element.dataset.chart, JSON.parse(element.textContent)]);
const dark = matchMedia('(prefers-color-scheme: dark)');
const picked = {};

function kept(spec) {
  // The rows of what is picked; none if the chart has nothing of it.
  const rows = values => values.filter(row => Object.entries(picked).every(
    ([field, value]) => !(field in row) || String(row[field]) === value));
  const part = Object.assign({}, spec);
  let seen = false;
  if (part.data?.values) {
    part.data = {values: rows(part.data.values)};
    seen = part.data.values.length > 0;
  }
  for (const list of ['layer', 'hconcat', 'vconcat', 'concat']) if (part[list]) {
    const inner = part[list].map(kept);
    part[list] = inner.map(([layer]) => layer);
    seen = seen || inner.some(([, one]) => one);
  }
  return [part, seen];
}

function config() {
  const style = getComputedStyle(document.documentElement);
  const of = name => style.getPropertyValue(name).trim();
  const [ink, soft, line] = [of('--ink'), of('--soft'), of('--line')];
  return {background: 'transparent', view: {stroke: line}, legend: {disable: true},
    axis: {labelColor: soft, titleColor: soft, gridColor: line, domainColor: soft,
           tickColor: soft, titleFontWeight: 'normal'},
    title: {color: ink}};
}

function tellNames(view) {
  // Vega-Lite loses texts, unlike numbers, of the point nearest to the pointer.
  const tell = view.tooltip();
  view.tooltip((handler, event, item, value) => {
    const told = value && typeof value === 'object' ? Object.fromEntries(Object.entries(value).map(
      ([name, text]) => [name, text === 'undefined' ? item.datum.datum?.[name] : text])) : value;
    tell.call(view, handler, event, item, told);
  }).run();  // it makes the picture anew
}

function draw() {
  for (const [name, spec] of specs) {
    const [shown, seen] = kept(spec);
    const place = document.getElementById(name);
    place.parentElement.hidden = !seen;
    if (seen) vegaEmbed(place, shown, {actions: false, config: config(), renderer: 'svg'})
      .then(result => { place.view = result.view; tellNames(result.view); })
      .catch(console.error);
  }
}

for (const button of document.querySelectorAll('.legend button'))
  button.addEventListener('click', () => {
    const {field, value} = button.dataset;
    const again = picked[field] === value;
    if (again) delete picked[field]; else picked[field] = value;
    for (const other of document.querySelectorAll('.legend button')) {
      const pressed = picked[other.dataset.field] === other.dataset.value;
      other.setAttribute('aria-pressed', String(pressed));
    }
    draw();
  });
dark.addEventListener('change', draw);
draw();
"""
