//! The health service: SERVING until the gateway is stopping.

use tonic::server::NamedService;
use tonic_health::ServingStatus::{NotServing, Serving};
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::HealthReporter;

use super::service::Ingest;
use crate::proto::ingest_service_server::IngestServiceServer;

/// The names that clients may ask for; the empty one is the whole server.
const NAMES: [&str; 2] = ["", <IngestServiceServer<Ingest> as NamedService>::NAME];

pub(super) async fn service() -> (HealthServer<impl Health>, HealthReporter) {
    let (reporter, service) = tonic_health::server::health_reporter();
    for name in NAMES {
        reporter.set_service_status(name, Serving).await;
    }
    (service, reporter)
}

/// Tells everyone who watches, then ends the watching: a watch has no end of its
/// own and would hold its connection, and so the whole stop, open.
pub(super) async fn stop(mut reporter: HealthReporter) {
    for name in NAMES {
        reporter.set_service_status(name, NotServing).await;
        reporter.clear_service_status(name).await;
    }
}
