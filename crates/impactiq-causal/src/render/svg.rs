//! An uplift tree as a picture: self-contained SVG, no scripts, no fonts of its own.

use std::fmt::Write;

use super::numbers::{count, digits};
use super::portrait::{Portrait, effect, portraits, provenance};
use crate::model::CausalModel;

/// Sizes in pixels.
const BOX_WIDTH: f64 = 236.0;
const GAP: f64 = 18.0;
const LEVEL_GAP: f64 = 46.0;
const MARGIN: f64 = 24.0;
const LINE: f64 = 17.0;
const TITLE: f64 = 30.0;
/// Characters of 12-pixel text that fit a box.
const CHARACTERS: usize = 33;

/// The uplift trees of a model as one SVG picture, one below the other. Boxes say the condition
/// that leads to them, rows and mean outcome by arm, and the uplift of every arm with its
/// standard error; the fuller the blue, the larger the best arm's uplift, orange is harm. `None`
/// for models of other learners.
pub fn uplift_tree_svg(model: &CausalModel) -> Option<String> {
    let drawings: Vec<Drawing<'_>> = portraits(model).into_iter().map(Drawing::new).collect();
    if drawings.is_empty() {
        return None;
    }
    let width = drawings.iter().map(|drawing| drawing.width).fold(560.0, f64::max);
    let height: f64 = drawings.iter().map(Drawing::height).sum();
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" font-family=\"system-ui, 'Segoe UI', Helvetica, Arial, sans-serif\" font-size=\"12\" \
         fill=\"#1b2733\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    let mut top = 0.0;
    for drawing in &drawings {
        drawing.draw(top, width, &mut out);
        top += drawing.height();
    }
    out.push_str("</svg>\n");
    Some(out)
}

/// A tree with the place of every node.
struct Drawing<'a> {
    portrait: Portrait<'a>,
    /// By node: middle and level.
    places: Vec<(f64, usize)>,
    levels: usize,
    width: f64,
    /// The largest uplift, up or down, that a node's best arm has.
    largest: f64,
}

impl<'a> Drawing<'a> {
    fn new(portrait: Portrait<'a>) -> Self {
        let n = portrait.tree.tree().nodes().len();
        let mut drawing = Drawing { places: vec![(0.0, 0); n], levels: 0, width: 0.0, largest: 0.0, portrait };
        let mut next = MARGIN + BOX_WIDTH / 2.0;
        drawing.place(0, 0, &mut next);
        drawing.width = next - GAP - BOX_WIDTH / 2.0 + MARGIN;
        drawing.largest = (0..n).map(|at| drawing.best(at).abs()).fold(0.0, f64::max);
        drawing
    }

    /// Leaves stand side by side, parents over the middle of their children.
    fn place(&mut self, at: usize, level: usize, next: &mut f64) -> f64 {
        self.levels = self.levels.max(level + 1);
        let node = self.portrait.tree.tree().nodes()[at];
        let middle = if node.is_leaf() {
            let own = *next;
            *next += BOX_WIDTH + GAP;
            own
        } else {
            let left = self.place(node.left as usize, level + 1, next);
            let right = self.place(node.right as usize, level + 1, next);
            (left + right) / 2.0
        };
        self.places[at] = (middle, level);
        middle
    }

    fn best(&self, at: usize) -> f64 {
        let node = self.portrait.tree.node(at);
        (1..self.portrait.arms.len()).map(|arm| node.effect(arm)).fold(f64::NEG_INFINITY, f64::max)
    }

    /// Lines of a box: condition, rows, a line per arm, a line per uplift.
    fn box_height(&self) -> f64 {
        (2 * self.portrait.arms.len() + 1) as f64 * LINE + 14.0
    }

    fn top_of(&self, level: usize) -> f64 {
        MARGIN + TITLE + level as f64 * (self.box_height() + LEVEL_GAP)
    }

    fn height(&self) -> f64 {
        self.top_of(self.levels) - LEVEL_GAP + 2.0 * LINE + MARGIN
    }

    fn draw(&self, top: f64, width: f64, out: &mut String) {
        let shift = (width - self.width) / 2.0;
        let title = format!(
            "Uplift on '{}' of {} against '{}'",
            self.portrait.outcome,
            self.portrait.arms[1..].iter().map(|arm| format!("'{arm}'")).collect::<Vec<_>>().join(", "),
            self.portrait.arms[0],
        );
        let _ = writeln!(out, "<g transform=\"translate({shift:.1} {top:.1})\">");
        let centre = self.width / 2.0;
        let _ = writeln!(
            out,
            "<text x=\"{centre:.1}\" y=\"{:.1}\" font-size=\"17\" font-weight=\"600\" text-anchor=\"middle\">{}</text>",
            MARGIN + 8.0,
            escape(&title)
        );
        for (at, node) in self.portrait.tree.tree().nodes().iter().enumerate() {
            if !node.is_leaf() {
                self.edge(at, node.left as usize, out);
                self.edge(at, node.right as usize, out);
            }
        }
        (0..self.places.len()).for_each(|at| self.node(at, out));
        let foot = self.top_of(self.levels) - LEVEL_GAP + LINE + 6.0;
        let _ = writeln!(
            out,
            "<text x=\"{centre:.1}\" y=\"{foot:.1}\" text-anchor=\"middle\" fill=\"#4a5a68\" font-size=\"11\">{}</text>\n</g>",
            escape(provenance(self.portrait.tree))
        );
    }

    fn edge(&self, from: usize, to: usize, out: &mut String) {
        let ((x, level), (child_x, child_level)) = (self.places[from], self.places[to]);
        let (y, child_y) = (self.top_of(level) + self.box_height(), self.top_of(child_level));
        let middle = (y + child_y) / 2.0;
        let _ = writeln!(
            out,
            "<path d=\"M{x:.1} {y:.1} C{x:.1} {middle:.1} {child_x:.1} {middle:.1} {child_x:.1} {child_y:.1}\" \
             fill=\"none\" stroke=\"#9aa8b4\" stroke-width=\"1.4\"/>"
        );
    }

    fn node(&self, at: usize, out: &mut String) {
        let (middle, level) = self.places[at];
        let (x, y, height) = (middle - BOX_WIDTH / 2.0, self.top_of(level), self.box_height());
        let leaf = self.portrait.tree.tree().nodes()[at].is_leaf();
        let node = self.portrait.tree.node(at);
        let condition = &self.portrait.conditions[at];
        let _ = writeln!(
            out,
            "<g><title>{}</title>\n<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{BOX_WIDTH}\" height=\"{height:.1}\" \
             rx=\"6\" fill=\"{}\" stroke=\"{}\" stroke-width=\"{}\"/>",
            escape(condition),
            self.colour(at),
            if leaf { "#3f5568" } else { "#9aa8b4" },
            if leaf { 1.6 } else { 1.0 },
        );
        let mut lines = vec![(condition.clone(), true), (format!("{} rows", count(node.rows.iter().sum())), false)];
        for (arm, label) in self.portrait.arms.iter().enumerate() {
            let (rows, mean) = (count(node.rows[arm]), digits(node.means[arm], 4));
            lines.push((format!("{}: {rows} at {mean}", short(label, 12)), false));
        }
        for (arm, label) in self.portrait.arms.iter().enumerate().skip(1) {
            let of = if self.portrait.arms.len() > 2 { format!(" {}", short(label, 8)) } else { String::new() };
            lines.push((format!("uplift{of} {}", effect(&node, arm)), true));
        }
        for (i, (line, bold)) in lines.iter().enumerate() {
            let _ = writeln!(
                out,
                "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\"{}>{}</text>",
                y + 19.0 + i as f64 * LINE,
                if *bold { " font-weight=\"600\"" } else { "" },
                escape(&short(line, CHARACTERS)),
            );
        }
        out.push_str("</g>\n");
    }

    /// White for no uplift to blue, or orange, for the largest there is.
    fn colour(&self, at: usize) -> String {
        let best = self.best(at);
        let share = if self.largest > 0.0 { (best.abs() / self.largest).min(1.0) } else { 0.0 };
        let full = if best < 0.0 { [246.0, 178.0, 107.0] } else { [120.0, 178.0, 236.0] };
        let [r, g, b] = full.map(|full| (255.0 - (255.0 - full) * share).round() as u8);
        format!("#{r:02x}{g:02x}{b:02x}")
    }
}

/// At most so many characters.
fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// Text as XML can hold it.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML has no way to write these at all.
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
