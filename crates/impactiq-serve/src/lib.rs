//! How answers leave: HTTP, live figures, the dashboard.
