//! Observed effect by score group, with error bars.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::{Slots, anchored, bold, draw, label, palette, range_with_zero, text, tick};
use crate::exit::Failure;

/// One group of people.
#[derive(Clone, Debug, PartialEq)]
pub struct DecileBar {
    /// The group's name under its bar.
    pub name: String,
    /// Observed effect, in the axis' unit; `None` when an arm is empty.
    pub value: Option<f64>,
    /// Lower end of its 95 % interval.
    pub lower: Option<f64>,
    /// Upper end.
    pub upper: Option<f64>,
}

/// Observed effects of groups by score.
#[derive(Clone, Debug)]
pub struct DecileChart {
    /// The finding.
    pub title: String,
    /// What is drawn.
    pub subtitle: String,
    /// The vertical axis with its unit.
    pub y_label: String,
    /// Groups, highest score first.
    pub bars: Vec<DecileBar>,
    /// The average effect, drawn across.
    pub average: Option<f64>,
}

impl DecileChart {
    /// The chart as SVG.
    ///
    /// # Errors
    /// A [`Failure`] if it cannot be drawn.
    pub fn svg(&self) -> Result<String, Failure> {
        let heights = self.bars.iter().flat_map(|b| [b.value, b.lower, b.upper]).flatten().chain(self.average);
        let range = range_with_zero(heights);
        let span = range.end - range.start;
        let n = self.bars.len() as f64;
        draw(&self.title, &self.subtitle, 520, |area| {
            let mut chart = ChartBuilder::on(area)
                .margin_left(14)
                .margin_right(110)
                .margin_top(8)
                .margin_bottom(10)
                .x_label_area_size(48)
                .y_label_area_size(70)
                .build_cartesian_2d(Slots(self.bars.len()), range)
                .map_err(text)?;
            chart
                .configure_mesh()
                .disable_x_mesh()
                .bold_line_style(palette::GRID)
                .light_line_style(TRANSPARENT)
                .axis_style(palette::QUIET)
                .x_labels(self.bars.len())
                .x_label_formatter(&|x| self.bars.get(*x as usize).map_or_else(String::new, |bar| bar.name.clone()))
                .y_labels(7)
                .y_label_formatter(&|y| tick(*y, span))
                .x_desc("people by score, highest tenth first")
                .y_desc(&self.y_label)
                .label_style(label(14, &palette::INK))
                .axis_desc_style(label(15, &palette::INK))
                .draw()
                .map_err(text)?;
            let bars = self.bars.iter().enumerate().filter_map(|(i, bar)| {
                let x = i as f64;
                bar.value.map(|v| Rectangle::new([(x + 0.16, 0.0), (x + 0.84, v)], palette::MAIN.mix(0.82).filled()))
            });
            chart.draw_series(bars).map_err(text)?;
            chart
                .draw_series([PathElement::new(vec![(0.0, 0.0), (n, 0.0)], palette::QUIET.stroke_width(1))])
                .map_err(text)?;
            let whiskers =
                self.whiskers().map(|(from, to)| PathElement::new(vec![from, to], palette::INK.stroke_width(2)));
            chart.draw_series(whiskers).map_err(text)?;
            if let Some(average) = self.average {
                let line = [(0.0, average), (n, average)];
                chart.draw_series(DashedLineSeries::new(line, 6, 5, palette::ACCENT.stroke_width(2))).map_err(text)?;
                let style = anchored(bold(15, &palette::ACCENT), HPos::Left, VPos::Center);
                chart
                    .plotting_area()
                    .draw(&(EmptyElement::at((n, average)) + Text::new("average", (8, 0), style)))
                    .map_err(text)?;
            }
            Ok(())
        })
    }

    /// Lines of the error bars: a stem with a cap on either end.
    fn whiskers(&self) -> impl Iterator<Item = ((f64, f64), (f64, f64))> {
        let whiskers = self.bars.iter().enumerate().filter_map(|(i, bar)| {
            let (x, lower, upper) = (i as f64 + 0.5, bar.lower?, bar.upper?);
            let cap = |y| ((x - 0.07, y), (x + 0.07, y));
            bar.value.map(|_| [((x, lower), (x, upper)), cap(lower), cap(upper)])
        });
        whiskers.flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten groups with a falling effect; the last has an empty arm.
    fn example() -> DecileChart {
        let bars = (0..10)
            .map(|i| {
                let value = (i < 9).then(|| 14.0 - 1.7 * f64::from(i));
                let name = if i == 0 { "top 10 %".to_owned() } else { format!("{}–{} %", i * 10, i * 10 + 10) };
                DecileBar { name, value, lower: value.map(|v| v - 3.5), upper: value.map(|v| v + 3.5) }
            })
            .collect();
        DecileChart {
            title: "The best tenth gains 14.0 percentage points, the average person 7.7".into(),
            subtitle: "Observed effect on visit by score group, 19,200 held-out people, with 95 % intervals".into(),
            y_label: "effect on visit, percentage points".into(),
            bars,
            average: Some(7.66),
        }
    }

    #[test]
    fn groups_average_and_units_are_named() {
        let svg = example().svg().unwrap();
        for part in ["top 10 %", "40–50 %", "percentage points", "average", "best tenth"] {
            assert!(svg.contains(part), "{part}");
        }
        if let Some(folder) = std::env::var_os("IMPACTIQ_CHART_TEST_DIR") {
            std::fs::write(std::path::Path::new(&folder).join("deciles.svg"), svg).unwrap();
        }
    }
}
