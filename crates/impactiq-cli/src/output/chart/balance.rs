//! The love plot: how far the arms differ before treatment, column by column.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::{Slots, anchored, cut, draw, label, palette, text, tick};
use crate::exit::Failure;

/// The most columns one chart shows; the most unbalanced come first.
const MOST_ROWS: usize = 30;

/// One column's imbalance between an arm and control.
#[derive(Clone, Debug, PartialEq)]
pub struct BalancePoint {
    /// The column (and arm, when there are several).
    pub name: String,
    /// Standardised mean difference.
    pub smd: f64,
}

/// Standardised mean differences with the limit.
#[derive(Clone, Debug)]
pub struct BalanceChart {
    /// The finding.
    pub title: String,
    /// What is drawn.
    pub subtitle: String,
    /// Columns; they are sorted here.
    pub points: Vec<BalancePoint>,
    /// The limit on the absolute difference.
    pub limit: f64,
}

impl BalanceChart {
    /// The chart as SVG.
    ///
    /// # Errors
    /// A [`Failure`] if it cannot be drawn.
    pub fn svg(&self) -> Result<String, Failure> {
        let mut points: Vec<&BalancePoint> = self.points.iter().filter(|point| point.smd.is_finite()).collect();
        points.sort_by(|a, b| b.smd.abs().total_cmp(&a.smd.abs()).then_with(|| a.name.cmp(&b.name)));
        points.truncate(MOST_ROWS);
        let n = points.len();
        let reach = points.iter().map(|point| point.smd.abs()).fold(self.limit * 1.25, f64::max) * 1.06;
        // The first point is on top: row i is drawn at height n - i - 1/2.
        draw(&self.title, &self.subtitle, 190 + 26 * n.max(2) as u32, |area| {
            let mut chart = ChartBuilder::on(area)
                .margin_left(14)
                .margin_right(40)
                .margin_top(8)
                .margin_bottom(10)
                .x_label_area_size(48)
                .y_label_area_size(190)
                .build_cartesian_2d(-reach..reach, Slots(n))
                .map_err(text)?;
            chart
                .configure_mesh()
                .disable_x_mesh()
                .bold_line_style(palette::GRID)
                .light_line_style(TRANSPARENT)
                .axis_style(palette::QUIET)
                .x_labels(9)
                .y_labels(n)
                .x_label_formatter(&|x| tick(*x, 2.0 * reach))
                .y_label_formatter(&|y| {
                    let row = (n as f64 - y) as usize;
                    points.get(row).map_or_else(String::new, |point| cut(&point.name, 24))
                })
                .x_desc("standardised mean difference, treated minus control")
                .label_style(label(14, &palette::INK))
                .axis_desc_style(label(15, &palette::INK))
                .draw()
                .map_err(text)?;
            for limit in [-self.limit, self.limit] {
                let line = [(limit, 0.0), (limit, n as f64)];
                chart.draw_series(DashedLineSeries::new(line, 6, 5, palette::ACCENT.stroke_width(2))).map_err(text)?;
            }
            chart
                .draw_series([PathElement::new(vec![(0.0, 0.0), (0.0, n as f64)], palette::QUIET.stroke_width(1))])
                .map_err(text)?;
            let style = anchored(label(14, &palette::ACCENT), HPos::Left, VPos::Bottom);
            chart
                .plotting_area()
                .draw(&(EmptyElement::at((self.limit, 0.0)) + Text::new("limit", (5, -4), style)))
                .map_err(text)?;
            let dots = points.iter().enumerate().map(|(i, point)| {
                let colour = if point.smd.abs() > self.limit { palette::ACCENT } else { palette::MAIN };
                Circle::new((point.smd, n as f64 - i as f64 - 0.5), 6, colour.filled())
            });
            chart.draw_series(dots).map_err(text)?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_columns_are_shown_and_the_limit_is_named() {
        let points = (0..40)
            .map(|i| BalancePoint { name: format!("f{i}"), smd: 0.12 * (f64::from(i) * 0.7).sin() })
            .chain([BalancePoint { name: "a_column_with_a_very_long_name".into(), smd: 0.31 }])
            .collect();
        let chart = BalanceChart {
            title: "One column differs between the arms: a_column_with_a_very_long_name".into(),
            subtitle: "Standardised mean differences of 41 columns; beyond the limit of 0.1 an arm is not comparable"
                .into(),
            points,
            limit: 0.1,
        };
        let svg = chart.svg().unwrap();
        assert!(svg.contains("a_column_with_a_very_lo…") && svg.contains("limit"));
        assert_eq!(svg.matches("<circle").count(), MOST_ROWS);
        if let Some(folder) = std::env::var_os("IMPACTIQ_CHART_TEST_DIR") {
            std::fs::write(std::path::Path::new(&folder).join("balance.svg"), svg).unwrap();
        }
    }
}
