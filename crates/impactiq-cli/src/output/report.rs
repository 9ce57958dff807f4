//! The self-contained HTML report: sections of text, tables and inline charts.
//!
//! No script, no font, no picture from elsewhere: the file can be mailed and printed.

use crate::output::table::{Align, TextTable};

/// A report under construction.
#[derive(Clone, Debug)]
pub struct Report {
    title: String,
    body: String,
}

const STYLE: &str = "\
body{font:16px/1.5 Inter,'Helvetica Neue',Helvetica,Arial,sans-serif;color:#1f2937;background:#fff;\
max-width:880px;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.7rem;margin-bottom:.2rem}h2{font-size:1.25rem;margin-top:2.5rem;border-bottom:1px solid #e5e7eb}\
p.lead{color:#6b7280;margin-top:0}figure{margin:1.5rem 0}svg{max-width:100%;height:auto}\
table{border-collapse:collapse;font-size:.9rem;margin:1rem 0}\
th,td{padding:.25rem .7rem;border-bottom:1px solid #e5e7eb;text-align:left;vertical-align:top}\
th.r,td.r{text-align:right;font-variant-numeric:tabular-nums}\
footer{color:#6b7280;font-size:.85rem;margin-top:3rem}";

impl Report {
    /// A report with a title and a line below it.
    pub fn new(title: &str, lead: &str) -> Self {
        let body = format!("<h1>{}</h1>\n<p class=\"lead\">{}</p>\n", escape(title), escape(lead));
        Report { title: title.to_owned(), body }
    }

    /// A section's heading.
    pub fn heading(&mut self, text: &str) {
        self.body.push_str(&format!("<h2>{}</h2>\n", escape(text)));
    }

    /// A paragraph.
    pub fn paragraph(&mut self, text: &str) {
        self.body.push_str(&format!("<p>{}</p>\n", escape(text)));
    }

    /// A chart: SVG made by this program.
    pub fn chart(&mut self, svg: &str) {
        self.body.push_str(&format!("<figure>{svg}</figure>\n"));
    }

    /// A table.
    pub fn table(&mut self, table: &TextTable) {
        self.body.push_str("<table>\n");
        for (index, row) in table.rows().iter().enumerate() {
            let tag = if index == 0 { "th" } else { "td" };
            self.body.push_str("<tr>");
            for (column, &align) in table.align().iter().enumerate() {
                let class = if align == Align::Right { " class=\"r\"" } else { "" };
                let cell = row.get(column).map_or("", String::as_str);
                self.body.push_str(&format!("<{tag}{class}>{}</{tag}>", escape(cell)));
            }
            self.body.push_str("</tr>\n");
        }
        self.body.push_str("</table>\n");
    }

    /// The whole document.
    pub fn html(&self) -> String {
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>{}</title>\n\
             <style>{STYLE}</style>\n</head>\n<body>\n{}<footer>Made by impactiq {}.</footer>\n</body>\n</html>\n",
            escape(&self.title),
            self.body,
            env!("CARGO_PKG_VERSION")
        )
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_data_cannot_become_markup() {
        let mut report = Report::new("<script>alert(1)</script>", "a & b");
        let mut table = TextTable::new(&[("x\"y", Align::Right)]);
        table.row(["<img>"]);
        report.table(&table);
        let html = report.html();
        assert!(!html.contains("<script>") && !html.contains("<img>"));
        assert!(html.contains("<th class=\"r\">x&quot;y</th>"));
    }
}
