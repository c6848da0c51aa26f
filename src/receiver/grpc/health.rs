//! The health service: SERVING until a disk operation failed, or the gateway is
//! stopping.

use std::time::Duration;

use tonic::server::NamedService;
use tonic_health::ServingStatus::{NotServing, Serving};
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::HealthReporter;

use super::service::Ingest;
use crate::proto::ingest_service_server::IngestServiceServer;
use crate::receiver::Intake;

/// The names that clients may ask for; the empty one is the whole server.
const NAMES: [&str; 2] = ["", <IngestServiceServer<Ingest> as NamedService>::NAME];

/// How often the spool is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

pub(super) async fn service() -> (HealthServer<impl Health>, HealthReporter) {
    let (reporter, service) = tonic_health::server::health_reporter();
    for name in NAMES {
        reporter.set_service_status(name, Serving).await;
    }
    (service, reporter)
}

/// Tells how the gateway is; returns when it is stopping.
pub(super) async fn tell(reporter: HealthReporter, intake: Intake) {
    let stopping = intake.closing().clone();
    let watching = watch(&reporter, intake);
    stopping.run_until_cancelled(watching).await;
    stop(reporter).await;
}

/// Nothing but a restart mends a spool that failed.
async fn watch(reporter: &HealthReporter, intake: Intake) {
    while !intake.is_poisoned() {
        tokio::time::sleep(INTERVAL).await;
    }
    for name in NAMES {
        reporter.set_service_status(name, NotServing).await;
    }
    std::future::pending().await
}

/// Tells everyone who watches, then ends the watching: a watch has no end of its
/// own and would hold its connection, and so the whole stop, open.
async fn stop(mut reporter: HealthReporter) {
    for name in NAMES {
        reporter.set_service_status(name, NotServing).await;
        reporter.clear_service_status(name).await;
    }
}
