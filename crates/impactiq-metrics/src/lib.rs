//! How good it is: uplift metrics, averages, health checks, as pure numbers.
