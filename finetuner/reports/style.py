"""The style sheet of the page: dark on white, the fonts of the machine, readable on a phone and on paper."""

STYLE = """
:root { color-scheme: light; --ink: #1b1b1b; --soft: #565656; --rule: #dcdcdc; --good: #0b5cad; --bad: #a3261f; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 70rem; padding: 1.5rem 1.25rem 4rem; background: #fff; color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 2.75rem 0 .5rem; padding-top: .75rem; border-top: 2px solid var(--ink); }
h3 { font-size: 1.08rem; margin: 1.75rem 0 .4rem; }
h4 { font-size: 1rem; font-weight: 600; margin: 0 0 .5rem; overflow-wrap: anywhere; }
p { margin: .5rem 0; max-width: 46rem; }
.about, figcaption, caption, .note { color: var(--soft); font-size: .9rem; }
.lead { font-size: 1.15rem; margin-top: 1rem; }
.better { color: var(--good); } .worse { color: var(--bad); }
.scroll { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .93rem; }
caption { text-align: left; padding-bottom: .4rem; max-width: 46rem; }
th, td { padding: .35rem .9rem .35rem 0; text-align: right; vertical-align: top; white-space: nowrap; }
th:first-child { text-align: left; }
thead th { border-bottom: 1.5px solid var(--ink); vertical-align: bottom; }
tbody tr + tr > * { border-top: 1px solid var(--rule); }
tbody th { font-weight: 500; }
.decides > * { font-weight: 700; background: #f2f6fb; } .decides th { padding-left: .4rem; }
td.against { padding-left: .9rem; } th.against { text-align: left; padding-left: .9rem; }
.difference { display: grid; grid-template-columns: 3.6rem 8.9rem 5.4rem 7rem; gap: 0 .5rem; text-align: left; align-items: center; font-weight: 400; }
.difference span { color: var(--ink); }
.several .difference { grid-template-columns: 3.6rem auto; } .several .difference svg { order: 3; grid-column: 1 / -1; }
.several .difference span:first-of-type { order: 2; grid-column: 1 / -1; }
.interval { display: block; width: 7rem; height: .8rem; }
.beside { display: flex; flex-wrap: wrap; gap: .5rem 2.5rem; align-items: flex-start; } .beside > * { flex: 0 1 auto; max-width: 100%; }
.beside > figure { flex: 1 1 18rem; max-width: 30rem; margin-top: .75rem; }
figure { margin: 0; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 1.5rem; margin: 1rem 0; }
.chart { display: block; width: 100%; max-width: 32rem; height: auto; }
.chart text { font-size: 12px; fill: #444; }
.chart .name { font-size: 13px; font-weight: 600; fill: #111; stroke: #fff; stroke-width: 3.5px; paint-order: stroke; }
.dots { fill: none; stroke-width: 5px; stroke-linecap: round; stroke-opacity: .75; }
.joins { fill: none; stroke: #9a9a9a; stroke-width: .7px; }
.gate { font-size: 1.05rem; margin-top: 1rem; } .gate:empty { display: none; }
.taken { font-weight: 700; background: #f2f6fb; } .lost { display: block; color: var(--soft); font-size: .85rem; }
.difference.unproven { grid-template-columns: 3.6rem 8.9rem 7rem; }
.shares { display: block; width: 100%; max-width: 32rem; height: .9rem; margin: .3rem 0 .2rem; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; list-style: none; padding: 0; margin: .4rem 0; font-size: .9rem; }
.legend li { overflow-wrap: anywhere; }
.swatch { width: 1.75rem; height: .75rem; margin-right: .4rem; vertical-align: middle; }
.dot { width: .75rem; height: .75rem; margin-right: .4rem; vertical-align: -.05rem; }
article { border: 1px solid var(--rule); border-radius: .4rem; padding: .8rem 1rem; margin: .75rem 0; }
.asked { margin: 0 0 .6rem; }
.row { display: flex; flex-wrap: wrap; gap: .4rem 1.5rem; } .row .sides { flex: 1 1 18rem; }
.sides { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: .8rem 1.5rem; }
.places { list-style: none; margin: .3rem 0 0; padding: 0; }
.pictures { display: flex; flex-wrap: wrap; gap: .5rem; }
.pictures li { width: 3.75rem; text-align: center; font-size: .8rem; }
.pictures img { border: 3px solid #c4c4c4; }
.pictures .positive img { border-color: var(--good); }
.pictures .negative img { border-color: var(--bad); border-style: dashed; }
img { display: block; width: 3.75rem; height: 3.75rem; object-fit: contain; background: #fff; image-rendering: pixelated; }
.asked img { width: 5rem; height: 5rem; border: 1px solid var(--ink); }
.texts li { display: grid; grid-template-columns: 1.2rem 2.6rem 1fr; gap: .2rem .4rem; padding: .3rem .3rem; font-size: .9rem;
  line-height: 1.4; border-top: 1px solid var(--rule); }
.texts .said { overflow: hidden; overflow-wrap: anywhere; display: -webkit-box; -webkit-line-clamp: 3; -webkit-box-orient: vertical; }
.texts .positive { background: #edf4fb; }
.mark { font-weight: 600; white-space: nowrap; } .positive .mark { color: var(--good); } .negative .mark { color: var(--bad); }
.unjudged .mark { color: var(--soft); font-weight: 400; }
dt { font-weight: 600; margin-top: .5rem; } dd { margin: 0 0 0 1rem; max-width: 46rem; }
@media (max-width: 40rem) {
  body { padding: 1rem .9rem 3rem; } h1 { font-size: 1.4rem; } .lead { font-size: 1.05rem; }
  th, td { padding-right: .5rem; font-size: .85rem; } td.against, th.against { padding-left: .3rem; }
  .difference { grid-template-columns: 3.1rem auto; } .difference svg { order: 3; grid-column: 1 / -1; }
  .difference span:first-of-type { order: 2; grid-column: 1 / -1; }
}
@media print {
  :root { font-size: 12px; } body { max-width: none; padding: 0; } .chart { max-width: 24rem; } * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  h2, h3, h4, h3 + p { break-after: avoid; } article, figure, tr { break-inside: avoid; } .scroll { overflow: visible; }
  .texts .said { -webkit-line-clamp: none; display: block; } @page { margin: 15mm; }
}
"""
