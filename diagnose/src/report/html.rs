//! The report as one HTML page that needs nothing else: it can be mailed and is read without a network.

use super::{Finding, Report, screen};
use crate::words;
use std::fmt::Write as _;

/// Width of a party's box, and from one to the next.
const BOX: usize = 210;
const STEP: usize = 300;
/// Parties of a diagram; more would not be seen.
const PARTIES_MAX: usize = 7;

const STYLE: &str = "
:root{color-scheme:light dark;--bg:#fff;--fg:#1a1c1f;--dim:#5c636e;--line:#d4d8de;--bad:#b3261e;--warn:#8a5a00;--good:#1b6e3c;--box:#f4f6f8}
@media(prefers-color-scheme:dark){:root{--bg:#15171a;--fg:#e6e8eb;--dim:#9aa3af;--line:#3a3f47;--bad:#ff8a80;--warn:#ffcf70;--good:#7bd99b;--box:#1e2227}}
*{box-sizing:border-box}body{margin:0 auto;max-width:62rem;padding:1.5rem;font:16px/1.5 system-ui,sans-serif;background:var(--bg);color:var(--fg)}
h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2rem}h3{font-size:1rem;margin:1rem 0 .3rem;color:var(--dim)}
article{border:1px solid var(--line);border-left:4px solid var(--bad);border-radius:6px;padding:1rem 1.2rem;margin:1rem 0}
article.maybe{border-left-color:var(--warn)}.dim{color:var(--dim);font-size:.9rem}code,.place{font-family:ui-monospace,monospace;font-size:.85rem;overflow-wrap:anywhere}
ol,ul{padding-left:1.4rem;margin:.3rem 0}li{margin:.25rem 0}li,p,td,h2{overflow-wrap:anywhere}.against{color:var(--good)}
table{border-collapse:collapse;width:100%;font-size:.9rem}th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
svg{max-width:100%;height:auto}svg text{fill:var(--fg);font:14px system-ui,sans-serif}svg text.small{fill:var(--dim);font-size:11px}svg rect{fill:var(--box);stroke:var(--line)}
.scroll{overflow-x:auto}a{color:inherit}@media print{article{break-inside:avoid}}
";

/// The page.
pub fn page(report: &Report, title: &str, made: &str) -> String {
    let mut page = String::new();
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, \
         initial-scale=1\"><title>{0}</title><style>{STYLE}</style></head><body><main><h1>{0}</h1><p class=\"dim\">{1}</p>",
        escaped(title),
        escaped(made)
    );
    summary(&mut page, report);
    diagram(&mut page, &report.findings);
    for (n, finding) in report.findings.iter().enumerate() {
        article(&mut page, n + 1, finding);
    }
    timeline(&mut page, report);
    benign(&mut page, report);
    needed(&mut page, report);
    read(&mut page, report);
    page.push_str("</main></body></html>\n");
    page
}

fn summary(page: &mut String, report: &Report) {
    page.push_str("<nav aria-label=\"Causes\"><ol>");
    for (n, finding) in report.findings.iter().enumerate() {
        let (title, sure) = (escaped(&finding.title), screen::sure(finding.confidence));
        let _ = write!(
            page,
            "<li><a href=\"#cause-{}\">{title}</a> <span class=\"dim\">{sure}</span></li>",
            n + 1
        );
    }
    page.push_str("</ol></nav>");
    if report.findings.is_empty() {
        page.push_str("<p>No cause was found in what was read.</p>");
    }
}

/// The hops that are broken, from initiator to acceptor.
fn diagram(page: &mut String, findings: &[Finding]) {
    let legs: Vec<(Vec<&str>, &Finding)> = findings
        .iter()
        .map(|f| (f.leg.split('→').map(str::trim).filter(|p| !p.is_empty()).collect::<Vec<_>>(), f))
        .filter(|(parties, _)| parties.len() > 1 && parties.len() <= PARTIES_MAX)
        .take(6)
        .collect();
    if legs.is_empty() {
        return;
    }
    let widest = legs.iter().map(|(parties, _)| parties.len()).max().unwrap_or(2);
    let (width, row) = ((widest * STEP - STEP + BOX).max(760), 96);
    let height = legs.len() * row + 10;
    let _ = write!(
        page,
        "<h2>Legs</h2><div class=\"scroll\"><svg role=\"img\" aria-label=\"The hops that the causes break\" viewBox=\"0 0 {width} {height}\" width=\"{width}\"><defs><marker \
         id=\"end\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"context-stroke\"/></marker></defs>"
    );
    for (n, (parties, finding)) in legs.iter().enumerate() {
        let top = n * row + 8;
        let colour = if finding.confidence >= 0.5 { "var(--bad)" } else { "var(--warn)" };
        for (at, party) in parties.iter().enumerate() {
            let left = at * STEP;
            let (name, detail) = party.split_once('(').unwrap_or((party, ""));
            let (middle, detail) = (left + BOX / 2, detail.trim_end_matches(')'));
            let (first, second) = if detail.is_empty() { (top + 27, top) } else { (top + 19, top + 36) };
            let _ = write!(
                page,
                "<rect x=\"{left}\" y=\"{top}\" width=\"{BOX}\" height=\"44\" rx=\"6\"/><text x=\"{middle}\" y=\"{first}\" text-anchor=\"middle\">{}</text>",
                escaped(crate::fact::cut(name.trim(), 28))
            );
            if !detail.is_empty() {
                let _ = write!(
                    page,
                    "<text class=\"small\" x=\"{middle}\" y=\"{second}\" text-anchor=\"middle\">{}</text>",
                    escaped(crate::fact::cut(detail, 36))
                );
            }
            if at + 1 < parties.len() {
                let _ = write!(
                    page,
                    "<line x1=\"{}\" y1=\"{2}\" x2=\"{}\" y2=\"{2}\" style=\"stroke:{colour};stroke-width:2.5\" stroke-dasharray=\"6 4\" marker-end=\"url(#end)\"/>",
                    left + BOX + 2,
                    left + STEP - 4,
                    top + 22
                );
            }
        }
        let _ = write!(
            page,
            "<text x=\"0\" y=\"{}\" style=\"fill:{colour}\">✕ {}</text>",
            top + 66,
            escaped(crate::fact::cut(&finding.title, 110))
        );
    }
    page.push_str("</svg></div>");
}

fn article(page: &mut String, n: usize, finding: &Finding) {
    let class = if finding.confidence >= 0.5 { "" } else { " class=\"maybe\"" };
    let server = finding.server.as_ref().map(|s| format!(" · seen on {}", escaped(s))).unwrap_or_default();
    let leg =
        if finding.leg.is_empty() { String::new() } else { format!(" · leg {}", escaped(&finding.leg)) };
    let _ = write!(
        page,
        "<article id=\"cause-{n}\"{class}><h2 style=\"margin-top:0\">{n}. {}</h2><p class=\"dim\"><code>{}</code> · {} ({:.2}){leg}{server}</p><h3>Seen</h3><ul>",
        escaped(&finding.title),
        escaped(&finding.cause),
        screen::sure(finding.confidence),
        finding.confidence
    );
    for piece in &finding.evidence {
        let time = piece.time.map(|t| format!("<code>{}</code> ", screen::clock(t))).unwrap_or_default();
        let end =
            if piece.end.is_empty() { String::new() } else { format!("<b>{}</b> ", escaped(&piece.end)) };
        let class = if piece.against { " class=\"against\"" } else { "" };
        let line = if piece.line == 0 { String::new() } else { format!(":{}", piece.line) };
        let _ = write!(
            page,
            "<li{class}>{time}{end}{}<br><span class=\"place dim\">{}{line}</span></li>",
            escaped(&piece.fact),
            escaped(&piece.file)
        );
    }
    let _ = write!(
        page,
        "</ul><h3>What follows</h3><p>{}</p><h3>What to do</h3><ol>",
        escaped(&finding.conclusion)
    );
    for step in &finding.remedy {
        let _ = write!(page, "<li>{}</li>", escaped(step));
    }
    page.push_str("</ol>");
    if !finding.rivals.is_empty() {
        page.push_str("<h3>Fits as well</h3><ul>");
        for rival in &finding.rivals {
            let _ = write!(
                page,
                "<li>{} <span class=\"dim\"><code>{}</code> {:.2}</span><br>Test: {}</li>",
                escaped(&rival.title),
                escaped(&rival.cause),
                rival.confidence,
                escaped(&rival.test)
            );
        }
        page.push_str("</ul>");
    }
    let open = finding.untested.iter().filter(|u| !finding.rivals.iter().any(|r| u.starts_with(&r.cause)));
    list(page, "<h3>Not looked at</h3>", open.map(String::as_str));
    if !finding.reference.is_empty() {
        let _ = write!(page, "<p class=\"dim\">More: {}</p>", escaped(&finding.reference));
    }
    page.push_str("</article>");
}

fn list<'a>(page: &mut String, head: &str, items: impl Iterator<Item = &'a str>) {
    let mut items = items.peekable();
    if items.peek().is_none() {
        return;
    }
    let _ = write!(page, "{head}<ul>");
    for item in items {
        let _ = write!(page, "<li>{}</li>", escaped(item));
    }
    page.push_str("</ul>");
}

fn timeline(page: &mut String, report: &Report) {
    if report.timeline.is_empty() {
        return;
    }
    page.push_str("<h2>Time line (UTC)</h2><div class=\"scroll\"><table><thead><tr><th>Time<th>Server<th>What<th>Where</thead><tbody>");
    for moment in &report.timeline {
        let _ = write!(
            page,
            "<tr><td><code>{}</code><td>{}<td>{}{}<td class=\"place\">{}:{}",
            screen::clock(moment.time),
            escaped(moment.server.as_deref().unwrap_or_default()),
            if moment.cause.is_none() { "<b>Changed:</b> " } else { "" },
            escaped(&moment.what),
            escaped(&moment.file),
            moment.line
        );
    }
    page.push_str("</tbody></table></div>");
}

fn benign(page: &mut String, report: &Report) {
    let told =
        report.noise.iter().map(|n| format!("{} ({}×): {}", n.title, n.count, n.why)).collect::<Vec<_>>();
    list(page, "<h2>Benign</h2>", told.iter().map(String::as_str));
}

fn needed(page: &mut String, report: &Report) {
    let told = report
        .needed
        .iter()
        .map(|n| {
            let from = if n.server.is_empty() { String::new() } else { format!(", from {}", n.server) };
            format!("{}{from}: {} (settles {})", n.what, n.how, n.settles.join(", "))
        })
        .collect::<Vec<_>>();
    list(page, "<h2>What would settle it</h2>", told.iter().map(String::as_str));
}

fn read(page: &mut String, report: &Report) {
    page.push_str("<h2>Read</h2><details><summary>Files</summary><ul>");
    for read in &report.read {
        let _ = write!(
            page,
            "<li><code>{}</code>: {}, {}</li>",
            escaped(&read.file),
            escaped(&read.kind),
            read.count
        );
    }
    page.push_str("</ul></details>");
    let unread = report.unread.iter().map(|u| format!("{}: {}", u.file, u.reason)).collect::<Vec<_>>();
    list(page, "<h3>Not read</h3>", unread.iter().map(String::as_str));
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c != '\n' && words::is_unsafe(c) => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Evidence;

    #[test]
    fn nothing_of_the_evidence_is_markup() {
        let evidence =
            Evidence { file: "<script>".into(), fact: "<img onerror=x>&\"".into(), ..Evidence::default() };
        let finding = Finding {
            title: "<b>".into(),
            leg: "a<i> → b".into(),
            evidence: vec![evidence],
            ..Finding::default()
        };
        let report = Report { findings: vec![finding], ..Report::default() };
        let page = page(&report, "t<", "now");
        for bad in ["<script>", "<img", "<b>\"", "a<i>", "t<<"] {
            assert!(!page.contains(bad), "{bad}");
        }
        assert!(page.contains("&lt;img onerror=x&gt;&amp;&quot;"));
    }
}
