//! Curves over the share of people treated: Qini, cumulative gain, TOC.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::{anchored, bold, draw, label, palette, range_with_zero, text, tick};
use crate::exit::Failure;

/// A point of a curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CurvePoint {
    /// Share of people, 0 to 1, best first.
    pub share: f64,
    /// Height, in the axis' unit.
    pub value: f64,
    /// Lower end of the 95 % band, if there is one.
    pub lower: Option<f64>,
    /// Upper end of the 95 % band.
    pub upper: Option<f64>,
}

/// A curve with its band and what it is compared with.
#[derive(Clone, Debug)]
pub struct CurveChart {
    /// The finding.
    pub title: String,
    /// What is drawn.
    pub subtitle: String,
    /// The vertical axis with its unit.
    pub y_label: String,
    /// What the curve is called where it ends.
    pub name: String,
    /// The curve by rising share.
    pub points: Vec<CurvePoint>,
    /// The comparison: a straight line from the origin to this height at share 1.
    pub straight_to: f64,
    /// What the straight line is called.
    pub straight_name: String,
}

impl CurveChart {
    /// The chart as SVG.
    ///
    /// # Errors
    /// A [`Failure`] if it cannot be drawn (no points, numbers that aren't finite).
    pub fn svg(&self) -> Result<String, Failure> {
        let points = thin(&self.points, 240);
        let heights = points.iter().flat_map(|p| [Some(p.value), p.lower, p.upper]).flatten();
        let range = range_with_zero(heights.chain([self.straight_to]));
        let span = range.end - range.start;
        draw(&self.title, &self.subtitle, 540, |area| {
            let mut chart = ChartBuilder::on(area)
                .margin_left(14)
                .margin_right(120)
                .margin_top(8)
                .margin_bottom(10)
                .x_label_area_size(48)
                .y_label_area_size(70)
                .build_cartesian_2d(0.0..1.0, range)
                .map_err(text)?;
            chart
                .configure_mesh()
                .disable_x_mesh()
                .bold_line_style(palette::GRID)
                .light_line_style(TRANSPARENT)
                .axis_style(palette::QUIET)
                .x_labels(11)
                .y_labels(7)
                .x_label_formatter(&|x| format!("{:.0} %", x * 100.0))
                .y_label_formatter(&|y| tick(*y, span))
                .x_desc("share of people, highest score first")
                .y_desc(&self.y_label)
                .label_style(label(14, &palette::INK))
                .axis_desc_style(label(15, &palette::INK))
                .draw()
                .map_err(text)?;
            let band: Vec<(f64, f64)> = points
                .iter()
                .filter_map(|p| p.lower.map(|lower| (p.share, lower)))
                .chain(points.iter().rev().filter_map(|p| p.upper.map(|upper| (p.share, upper))))
                .collect();
            if !band.is_empty() {
                chart.draw_series([Polygon::new(band, palette::MAIN.mix(0.13))]).map_err(text)?;
            }
            chart
                .draw_series(DashedLineSeries::new(
                    [(0.0, 0.0), (1.0, self.straight_to)],
                    6,
                    5,
                    palette::QUIET.stroke_width(2),
                ))
                .map_err(text)?;
            chart
                .draw_series(LineSeries::new(points.iter().map(|p| (p.share, p.value)), palette::MAIN.stroke_width(3)))
                .map_err(text)?;
            self.names(&mut chart, points.as_slice(), span).map_err(text)
        })
    }

    /// Writes the names beside what they name: the curve's above its highest middle, the
    /// line's below its middle, so that they do not meet at the common end.
    fn names<'a, B: DrawingBackend + 'a>(
        &self,
        chart: &mut ChartContext<
            'a,
            B,
            Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
        >,
        points: &[CurvePoint],
        span: f64,
    ) -> Result<(), String>
    where
        B::ErrorType: 'static,
    {
        let Some(last) = points.last() else { return Err("the curve has no points".into()) };
        let apart = (last.value - self.straight_to).abs() > span * 0.06;
        let style = |colour, vertical| anchored(bold(15, colour), HPos::Left, vertical);
        let (above, below) = if last.value >= self.straight_to - span * 0.01 {
            (VPos::Bottom, VPos::Top)
        } else {
            (VPos::Top, VPos::Bottom)
        };
        let (curve_side, line_side) = if apart { (VPos::Center, VPos::Center) } else { (above, below) };
        let lines = [
            (self.name.clone(), last.value, style(&palette::MAIN, curve_side)),
            (self.straight_name.clone(), self.straight_to, style(&palette::QUIET, line_side)),
        ];
        for (name, height, style) in lines {
            chart
                .plotting_area()
                .draw(&(EmptyElement::at((1.0, height)) + Text::new(name, (8, 0), style)))
                .map_err(text)?;
        }
        Ok(())
    }
}

/// Keeps at most about `limit` points, evenly, with both ends.
fn thin(points: &[CurvePoint], limit: usize) -> Vec<CurvePoint> {
    let step = points.len().div_ceil(limit).max(1);
    let mut kept: Vec<CurvePoint> = points.iter().step_by(step).copied().collect();
    if let (Some(last), Some(kept_last)) = (points.last(), kept.last())
        && last != kept_last
    {
        kept.push(*last);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A curve that rises fast and ends at 8.
    pub fn example() -> CurveChart {
        let points = (0..=1000)
            .map(|i| {
                let share = f64::from(i) / 1000.0;
                let value = 8.0 * (1.4 * share - 0.4 * share * share * share);
                let width = 1.9 * (share * (1.0 - share) + 0.1 * share).sqrt();
                CurvePoint { share, value, lower: Some(value - width), upper: Some(value + width) }
            })
            .collect();
        CurveChart {
            title: "Treating the best 30 % brings 42 % of the extra visits".into(),
            subtitle: "Qini curve on 850 people the model has not seen, with its 95 % band".into(),
            y_label: "extra visits per 100 people".into(),
            name: "model".into(),
            points,
            straight_to: 8.0,
            straight_name: "random".into(),
        }
    }

    #[test]
    fn the_chart_names_its_finding_its_axes_and_its_lines() {
        let svg = example().svg().unwrap();
        for part in ["Treating the best 30 %", "extra visits per 100 people", "random", "role=\"img\"", "<title>"] {
            assert!(svg.contains(part), "{part}");
        }
        assert!(svg.len() < 40_000, "{}", svg.len());
        if let Some(folder) = std::env::var_os("IMPACTIQ_CHART_TEST_DIR") {
            std::fs::write(std::path::Path::new(&folder).join("curve.svg"), svg).unwrap();
        }
    }

    #[test]
    fn thinning_keeps_both_ends() {
        let points = example().points;
        let thinned = thin(&points, 240);
        assert!(thinned.len() <= 241);
        assert_eq!((thinned.first(), thinned.last()), (points.first(), points.last()));
    }
}
