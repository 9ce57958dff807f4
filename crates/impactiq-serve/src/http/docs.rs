//! The API's description: OpenAPI, made from the handlers themselves.

use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use std::sync::Arc;

use crate::desk::Desk;
use crate::http::{health, infer, invocations, live, log, models, reports, score, simulate, stream, target};

/// Every route of the API, with its description.
pub(crate) fn api() -> OpenApiRouter<Arc<Desk>> {
    let info = InfoBuilder::new().title("ImpactIQ").version(env!("CARGO_PKG_VERSION")).description(Some(
        "Uplift scores, what-if, targeting, models and live figures. Errors are RFC 9457 \
         (`application/problem+json`). With keys, send `Authorization: Bearer KEY`.",
    ));
    let mut description: OpenApi = OpenApiBuilder::new().info(info).build();
    let key = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    description.components.get_or_insert_default().add_security_scheme("key", key);
    description.security = Some(vec![SecurityRequirement::new("key", Vec::<String>::new())]);
    OpenApiRouter::with_openapi(description)
        .routes(routes!(score::score))
        .routes(routes!(simulate::simulate))
        .routes(routes!(target::target))
        .routes(routes!(target::list))
        .routes(routes!(log::scores))
        .routes(routes!(models::list))
        .routes(routes!(models::rollback))
        .routes(routes!(models::refresh))
        .routes(routes!(models::detail))
        .routes(routes!(models::promote))
        .routes(routes!(reports::reports))
        .routes(routes!(live::live))
        .routes(routes!(stream::stream))
        .routes(routes!(health::server))
        .routes(routes!(health::metrics))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(infer::server_metadata))
        .routes(routes!(infer::live))
        .routes(routes!(infer::ready))
        .routes(routes!(infer::model))
        .routes(routes!(infer::model_ready))
        .routes(routes!(infer::infer))
        .routes(routes!(infer::model_version))
        .routes(routes!(infer::model_version_ready))
        .routes(routes!(infer::infer_version))
        .routes(routes!(invocations::invocations))
        .routes(routes!(invocations::ping))
        .routes(routes!(invocations::version))
}

/// The description alone.
pub fn description() -> OpenApi {
    api().into_openapi()
}
