"""The style sheet of a report page: light and dark, nothing loaded from elsewhere."""

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;--page:#fbfaf7;--ink:#1f2328;--soft:#6a737d;--line:#e3e1da;
--own:#0f7a6c;--hold:#8a6d1f;--gain:#0f7a6c;--loss:#b3372f;--fall:#b3372f33;--warn:#8a4b00}
@media (prefers-color-scheme:dark){:root{--page:#14171a;--ink:#e6e4df;--soft:#98a0a8;--line:#2c3237;
--own:#3fb8a5;--hold:#d3b15a;--gain:#3fb8a5;--loss:#e0736b;--fall:#e0736b40;--warn:#e0a458}}
body{background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif;
margin:0 auto;max-width:1120px;padding:28px 20px 60px}
h1{font-size:24px;margin:0 0 4px}h2{font-size:18px;margin:40px 0 4px;overflow-wrap:anywhere}
h3{font-size:14px;margin:22px 0 6px}p{margin:4px 0}.soft{color:var(--soft)}.warn{color:var(--warn)}
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;
margin:8px 0;font-size:13.5px}th,td{padding:4px 12px 4px 0;text-align:right;white-space:nowrap;
border-bottom:1px solid var(--line)}th:first-child,td:first-child,td.text{text-align:left}
td.text{white-space:normal}.words th:last-child{text-align:left}
.files td:first-child{white-space:normal;overflow-wrap:anywhere;min-width:150px;max-width:330px}
.files th{white-space:normal;vertical-align:bottom}.lead{font-size:16.5px;margin:10px 0}
td.part{width:220px;padding-right:0}.part i{display:block;height:9px;border-radius:2px}
.part .gain-bar{background:var(--gain)}.part .loss-bar{background:var(--loss)}
th{color:var(--soft);font-weight:600}tr.total td{font-weight:600}
.gain-text{color:var(--gain)}.loss-text{color:var(--loss)}
svg{display:block;width:100%;height:auto;font:11px system-ui,sans-serif}svg text{fill:var(--soft)}
.grid{stroke:var(--line)}.zero{stroke:var(--soft)}path{fill:none;stroke-width:1.6}
.own{stroke:var(--own)}.hold{stroke:var(--hold);stroke-dasharray:5 3}
.fall{fill:var(--fall)}.fall-line{stroke:var(--loss);stroke-width:1.2}.gain{fill:var(--gain)}.loss{fill:var(--loss)}
.key{display:inline-block;width:18px;border-top:2px solid var(--own);vertical-align:4px;
margin:0 6px 0 0}.key.dash{border-top:2px dashed var(--hold)}.key.light{opacity:.5}
.key+.key,.key.dash,.key.light{margin-left:16px}.gross{stroke:var(--own);opacity:.5}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(190px,1fr));gap:8px 20px;
margin:14px 0}dt{color:var(--soft);font-size:12.5px}dd{margin:0;font-variant-numeric:tabular-nums}
"""
