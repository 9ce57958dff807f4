//! The self-contained HTML report: tables and inline charts.
