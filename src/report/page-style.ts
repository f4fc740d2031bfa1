/** The page's style sheet; the colours of rights are also in occupancy.ts. */
export const PAGE_STYLE = `
:root { color-scheme: light dark; --ink: #1e293b; --dim: #64748b; --paper: #f8fafc; --card: #fff; --line: #e2e8f0; --ground: #f1f5f9; --bad: #dc2626; --note: #b45309; --good: #059669; --accent: #2563eb }
@media (prefers-color-scheme: dark) { :root { --ink: #e2e8f0; --dim: #94a3b8; --paper: #0f172a; --card: #1e293b; --line: #334155; --ground: #172033; --bad: #f87171; --note: #fbbf24; --good: #34d399; --accent: #60a5fa } }
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
main { max-width: 1120px; margin: 0 auto; padding: 24px 20px 60px }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 14px }
h1 { margin: 0; font-size: 24px; letter-spacing: -.01em }
h2 { margin: 0 0 4px; font-size: 17px }
h3 { margin: 18px 0 2px; font-size: 15px }
h3 small { font-weight: 400 }
p { margin: 4px 0 }
.dim, small, figcaption { color: var(--dim) }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 16px 20px; margin-top: 16px }
nav { margin: 12px 0 0; display: flex; flex-wrap: wrap; gap: 4px 16px }
a { color: var(--accent); text-decoration: none }
a:hover { text-decoration: underline }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(125px, 1fr)); gap: 10px; margin-top: 16px }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 10px 14px }
.card b { display: block; font-size: 22px; line-height: 1.25; font-variant-numeric: tabular-nums; letter-spacing: -.02em }
.card.bad b, .bad { color: var(--bad) }
.note { color: var(--note) }
.good { color: var(--good) }
ul.verdicts { list-style: none; margin: 4px 0 0; padding: 0 }
ul.verdicts li::before { content: '\\25cf'; margin-right: 8px }
ul.verdicts a { color: inherit }
.scroll { overflow-x: auto }
table { border-collapse: collapse; margin-top: 8px; font-variant-numeric: tabular-nums }
th { text-align: left; font-weight: 600; color: var(--dim); font-size: 13px }
th, td { padding: 3px 16px 3px 0; vertical-align: top; border-bottom: 1px solid var(--line) }
td.n, th.n { text-align: right; white-space: nowrap }
code, .mono { font: 13px/1.5 ui-monospace, monospace; overflow-wrap: anywhere }
td b { white-space: nowrap }
details { margin-top: 2px }
summary { cursor: pointer; color: var(--dim) }
figure { margin: 8px 0 0 }
figure.histogram { max-width: 500px }
figure.histogram svg { overflow: visible }
figcaption { font: 13px/1.5 ui-monospace, monospace; min-height: 20px }
svg { display: block; width: 100%; height: auto }
svg text { font: 11px ui-monospace, monospace; fill: var(--dim) }
svg text.address { text-anchor: end }
svg text.time { text-anchor: middle }
svg text.start { text-anchor: start }
svg text.gap { text-anchor: middle; font-style: italic }
svg image { image-rendering: pixelated }
.ground { fill: var(--ground) }
.tick { stroke: var(--line); stroke-width: 1 }
.reset { stroke: var(--bad); stroke-width: 1.5; stroke-dasharray: 4 3 }
.r0 { fill: #3b82f6; background: #3b82f6 } .r1 { fill: #f59e0b; background: #f59e0b } .r2 { fill: #10b981; background: #10b981 } .r3 { fill: #a855f7; background: #a855f7 } .r4 { fill: #94a3b8; background: #94a3b8 }
.k0 { fill: #3b82f6; background: #3b82f6 } .k1 { fill: #f59e0b; background: #f59e0b } .k2 { fill: #10b981; background: #10b981 } .k3 { fill: #a855f7; background: #a855f7 } .k4 { fill: #06b6d4; background: #06b6d4 } .k5 { fill: #94a3b8; background: #94a3b8 } .k6 { fill: #ef4444; background: #ef4444 }
.picture rect[class^=r] { fill-opacity: .75 }
.picture rect:hover { fill-opacity: 1 }
.picture rect.ground:hover { fill: var(--ground) }
.fault circle { fill: transparent; pointer-events: all }
.fault path { stroke: #ef4444; stroke-width: 2.2; fill: none; pointer-events: none }
.area { fill: #3b82f6; fill-opacity: .35; stroke: #3b82f6; stroke-width: 1.2 }
.bar { fill: #3b82f6 }
g:hover > .bar { fill: var(--accent) }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; color: var(--dim); font-size: 13px }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin-right: 6px }
.legend i.cross { color: #ef4444; width: auto; height: auto; font-style: normal; font-weight: 700 }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); gap: 4px 28px }
@media print { section { break-inside: avoid } }
`
