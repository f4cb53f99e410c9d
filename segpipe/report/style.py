"""How the pages look."""

CSS = """
:root {
  --paper: #f6f7f9; --card: #ffffff; --ink: #181825; --faint: #686a7a;
  --line: #e3e5ec; --accent: #5b4bc4; --good: #12805c; --bad: #c2293b;
  color-scheme: light dark;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #12121a; --card: #1c1c28; --ink: #ececf4; --faint: #9a9cae;
    --line: #2e2e3e; --accent: #9d8cff; --good: #4fd1a1; --bad: #ff7b86;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
main { max-width: 1180px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 28px; margin: 0; letter-spacing: -0.01em; overflow-wrap: anywhere; }
h2 { font-size: 15px; margin: 0 0 12px; }
.faint, header p { color: var(--faint); margin: 4px 0 0; overflow-wrap: anywhere; }
section, .number {
  background: var(--card); border: 1px solid var(--line); border-radius: 12px;
}
section { padding: 20px; margin-top: 20px; }
.numbers, .charts {
  display: grid; gap: 16px; margin-top: 24px;
  grid-template-columns: repeat(auto-fit, minmax(165px, 1fr));
}
.charts { grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); }
.charts { margin-top: 20px; }
.charts section { margin: 0; }
.number { padding: 14px 16px; }
.number b { display: block; font-size: 24px; font-variant-numeric: tabular-nums; }
.number span { color: var(--faint); font-size: 13px; }
section > img { display: block; width: 100%; border-radius: 6px; }
svg { display: block; width: 100%; height: auto; }
svg rect, svg circle { fill: var(--accent); }
svg text { font-size: 12px; fill: var(--faint); }
svg text.strong { fill: var(--ink); font-weight: 600; }
svg .axis, svg .rule { stroke: var(--line); }
svg .rule { stroke-dasharray: 4 4; stroke: var(--faint); }
svg .median { stroke: var(--ink); stroke-width: 1.5; }
svg .spread { stroke: var(--accent); stroke-width: 2; opacity: 0.45; }
.bars { display: grid; grid-template-columns: auto 1fr auto; gap: 8px 12px; }
.bars i { align-self: center; height: 14px; border-radius: 3px; min-width: 2px; }
.bars b { font-variant-numeric: tabular-nums; text-align: right; font-weight: 600; }
.stack { display: flex; height: 22px; border-radius: 6px; overflow: hidden; }
.legend { display: flex; flex-wrap: wrap; gap: 6px 20px; margin-top: 12px; }
.legend i {
  display: inline-block; width: 11px; height: 11px; border-radius: 3px;
  margin-right: 6px;
}
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: 7px 12px 7px 0; border-top: 1px solid var(--line); }
th { color: var(--faint); font-weight: 500; white-space: nowrap; vertical-align: top; }
td { overflow-wrap: anywhere; }
thead th { border: 0; }
.right { text-align: right; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
.scroll th { padding-right: 8px; }
td.score { padding: 7px 6px; border-left: 3px solid var(--card); white-space: nowrap; }
.wide { grid-template-columns: repeat(auto-fit, minmax(440px, 1fr)); }
.wide svg { max-height: 320px; }
svg text.halo { paint-order: stroke; stroke: var(--card); stroke-width: 4px; }
h1.set { margin-top: 48px; font-size: 24px; }
.looks { display: grid; gap: 12px; grid-template-columns: repeat(3, 1fr); }
.looks img { display: block; width: 100%; border-radius: 6px; }
figure { margin: 0; }
figcaption { color: var(--faint); font-size: 13px; margin-top: 4px; }
.done { color: var(--good); font-weight: 600; }
.quarantined { color: var(--bad); font-weight: 600; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
summary { cursor: pointer; font-weight: 600; }
details table { margin-top: 12px; }
code { font: 13px ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
@media print { body { background: #fff; } section { break-inside: avoid; } }
"""
