//! Charts as SVG text: one look for all of them.
//!
//! A chart's title says what was found, the line below says what is drawn, the axes name
//! their units. Nothing here computes a statistic.

use std::fmt::Display;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::exit::Failure;

mod balance;
mod curve;
mod deciles;

pub use balance::{BalanceChart, BalancePoint};
pub use curve::{CurveChart, CurvePoint};
pub use deciles::{DecileBar, DecileChart};

const WIDTH: u32 = 860;
const FONT: &str = "Inter, 'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif";

/// The palette: readable in print and for colour-blind eyes.
mod palette {
    use plotters::style::RGBColor;

    pub const INK: RGBColor = RGBColor(0x1f, 0x29, 0x37);
    pub const QUIET: RGBColor = RGBColor(0x6b, 0x72, 0x80);
    pub const GRID: RGBColor = RGBColor(0xe5, 0xe7, 0xeb);
    pub const MAIN: RGBColor = RGBColor(0x1d, 0x4e, 0xd8);
    pub const ACCENT: RGBColor = RGBColor(0xc2, 0x41, 0x0c);
    pub const PAPER: RGBColor = RGBColor(0xff, 0xff, 0xff);
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws a chart of the given height: title and subtitle here, the rest by `body`, which
/// gets the area below them.
fn draw(
    title: &str,
    subtitle: &str,
    height: u32,
    body: impl FnOnce(&Area<'_>) -> Result<(), String>,
) -> Result<String, Failure> {
    let mut svg = String::new();
    let drawn = (|| {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        root.fill(&palette::PAPER).map_err(text)?;
        let mut y = 18;
        for line in wrap(title, 72) {
            root.draw(&Text::new(line, (28, y), bold(20, &palette::INK))).map_err(text)?;
            y += 27;
        }
        y += 2;
        for line in wrap(subtitle, 116) {
            root.draw(&Text::new(line, (28, y), label(14, &palette::QUIET))).map_err(text)?;
            y += 19;
        }
        let (_, below) = root.split_vertically(y + 6);
        body(&below)?;
        root.present().map_err(text)
    })();
    drawn.map_err(|error: String| Failure::new(format!("a chart cannot be drawn: {error}"), "please report this"))?;
    Ok(accessible(&svg, title, subtitle))
}

fn text(error: impl Display) -> String {
    error.to_string()
}

/// A text style in the house font.
fn label<'a>(size: u32, colour: &'a RGBColor) -> TextStyle<'a> {
    styled(size, colour, FontStyle::Normal)
}

/// The same in bold.
fn bold<'a>(size: u32, colour: &'a RGBColor) -> TextStyle<'a> {
    styled(size, colour, FontStyle::Bold)
}

fn styled<'a>(size: u32, colour: &'a RGBColor, style: FontStyle) -> TextStyle<'a> {
    // The SVG backend writes a font size divided by 1.24.
    TextStyle::from(FontDesc::new(FontFamily::Name(FONT), f64::from(size) * 1.24, style)).color(colour)
}

/// Anchors text with its reference point at the given corner or side.
fn anchored<'a>(style: TextStyle<'a>, horizontal: HPos, vertical: VPos) -> TextStyle<'a> {
    style.pos(Pos::new(horizontal, vertical))
}

/// An axis of equally wide slots with a label in the middle of each.
#[derive(Clone, Debug)]
struct Slots(usize);

impl Ranged for Slots {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = value / self.0.max(1) as f64;
        limit.0 + (f64::from(limit.1 - limit.0) * share).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        (0..self.0).map(|slot| slot as f64 + 0.5).collect()
    }

    fn range(&self) -> std::ops::Range<f64> {
        0.0..self.0 as f64
    }
}

/// Breaks text into lines of at most `width` letters.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Cuts a label that is too long for its place.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// Lets screen readers say what the picture shows.
fn accessible(svg: &str, title: &str, subtitle: &str) -> String {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    match svg.find("<svg ").and_then(|start| svg[start..].find('>').map(|end| start + end)) {
        None => svg.to_owned(),
        Some(end) => format!(
            "{} role=\"img\"{}\n<title>{}</title>\n<desc>{}</desc>{}",
            &svg[..end],
            &svg[end..=end],
            escape(title),
            escape(subtitle),
            &svg[end + 1..]
        ),
    }
}

/// The range of some values with room around it; zero is always inside.
fn range_with_zero(values: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    let (low, high) =
        values.filter(|v| v.is_finite()).fold((0.0f64, 0.0f64), |(low, high), v| (low.min(v), high.max(v)));
    let room = (high - low).max(1e-9) * 0.06;
    let low = if low < 0.0 { low - room } else { 0.0 };
    let high = if high > 0.0 { high + room } else { 0.0 };
    if low == high { -1.0..1.0 } else { low..high }
}

/// An axis number with the decimals its range asks for.
fn tick(value: f64, span: f64) -> String {
    let decimals = match span {
        s if s >= 8.0 => 0,
        s if s >= 0.8 => 1,
        s if s >= 0.08 => 2,
        s if s >= 0.008 => 3,
        _ => 5,
    };
    let text = format!("{value:.decimals$}");
    if text.trim_start_matches('-').chars().all(|c| c == '0' || c == '.') {
        return "0".into();
    }
    text.replace('-', "−")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_titles_break_between_words() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(tick(-0.0, 1.0), "0");
        assert_eq!(tick(-2.5, 4.0), "−2.5");
    }

    #[test]
    fn the_range_holds_zero_and_every_value() {
        let range = range_with_zero([3.0, -1.0, f64::NAN].into_iter());
        assert!(range.start < -1.0 && range.end > 3.0);
        assert_eq!(range_with_zero(std::iter::empty()), -1.0..1.0);
    }
}
