//! `GET /v1/live`: the figures of every second as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::StreamExt;
use tokio_stream::wrappers::WatchStream;

use crate::desk::Desk;
use crate::live::tick::Tick;

/// Follow the server, second by second.
///
/// Every event is called `tick` and holds one JSON object.
#[utoipa::path(get, path = "/v1/live", tag = "server", responses((status = 200, description = "A `tick` each second", body = Tick, content_type = "text/event-stream")))]
pub(crate) async fn live(State(desk): State<Arc<Desk>>) -> impl IntoResponse {
    // Whoever is too slow for a tick gets the next one: nothing is queued for anybody.
    let ticks = WatchStream::new(desk.tick.subscribe()).filter_map(|text| async move {
        (!text.is_empty()).then(|| Ok::<Event, Infallible>(Event::default().event("tick").data(&*text)))
    });
    let ticks = ticks.take_until(desk.stopping.clone().cancelled_owned());
    Sse::new(ticks).keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
}
