//! What stands beside the ingest service: health, reflection, and the fairness
//! of one connection.

#![allow(missing_docs)]

mod receiver_support;

use std::time::Duration;

use prost::Message;
use prost_types::FileDescriptorProto;
use receiver_support::disk::Disk;
use receiver_support::grpc::{batch, channel, serve};
use receiver_support::{DEADLINE, Gateway, Setup, ended, until};
use stashgate::proto::ingest_service_client::IngestServiceClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1alpha;

const SERVICE: &str = "stashgate.v1.IngestService";

fn named(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

#[tokio::test]
async fn health_serves_until_the_gateway_stops_and_then_says_so() {
    let gateway = Gateway::new();
    let (address, task) = serve(&gateway).await;
    let mut client = HealthClient::new(channel(address).await);
    for service in ["", SERVICE] {
        let health = client.check(named(service)).await.expect("known");
        assert_eq!(health.into_inner().status(), ServingStatus::Serving);
    }
    let watch = client.watch(named(SERVICE)).await.expect("known");
    let mut watch = watch.into_inner();
    let first = watch.message().await.expect("open").expect("a status");
    assert_eq!(first.status(), ServingStatus::Serving);
    gateway.closing.cancel();
    let next = watch.message().await.expect("open").expect("a status");
    assert_eq!(next.status(), ServingStatus::NotServing);
    // A watcher does not hold the stop up.
    ended(task).await.expect("drains");
}

#[tokio::test]
async fn health_says_so_when_a_disk_operation_failed() {
    let disk = Disk::default();
    let gateway = Gateway::with(Setup {
        disk: disk.clone(),
        ..Setup::default()
    });
    let (address, _task) = serve(&gateway).await;
    let mut client = HealthClient::new(channel(address).await);
    let mut watches = Vec::new();
    for service in ["", SERVICE] {
        let watch = client.watch(named(service)).await.expect("known");
        let mut watch = watch.into_inner();
        let first = watch.message().await.expect("open").expect("a status");
        assert_eq!(first.status(), ServingStatus::Serving);
        watches.push(watch);
    }
    disk.break_down();
    let mut ingest = IngestServiceClient::new(channel(address).await);
    ingest
        .append(batch("other", "{}\n"))
        .await
        .expect_err("not durable");
    for mut watch in watches {
        let next = tokio::time::timeout(DEADLINE, watch.message()).await;
        let next = next.expect("told in time").expect("open");
        assert_eq!(next.expect("a status").status(), ServingStatus::NotServing);
    }
}

async fn ask(address: std::net::SocketAddr, question: MessageRequest) -> MessageResponse {
    let mut client = ServerReflectionClient::new(channel(address).await);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(question),
    };
    let answers = client.server_reflection_info(tokio_stream::once(request));
    let mut answers = answers.await.expect("served").into_inner();
    let answer = answers.message().await.expect("open").expect("an answer");
    answer.message_response.expect("a response")
}

#[tokio::test]
async fn a_client_learns_the_contract_from_the_gateway() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway).await;
    let services = ask(address, MessageRequest::ListServices(String::new())).await;
    let MessageResponse::ListServicesResponse(services) = services else {
        panic!("{services:?}")
    };
    let services: Vec<_> = services.service.into_iter().map(|s| s.name).collect();
    for service in [SERVICE, "grpc.health.v1.Health"] {
        assert!(services.iter().any(|s| s == service), "{services:?}");
    }
    for (symbol, file) in [
        (SERVICE, "stashgate/v1/ingest.proto"),
        ("google.rpc.Status", "google/rpc/status.proto"),
        ("google.rpc.RetryInfo", "google/rpc/error_details.proto"),
    ] {
        let symbol = MessageRequest::FileContainingSymbol(symbol.to_owned());
        assert_eq!(first_file(ask(address, symbol).await), file);
        let name = MessageRequest::FileByFilename(file.to_owned());
        assert_eq!(first_file(ask(address, name).await), file);
    }
}

fn first_file(answer: MessageResponse) -> String {
    let MessageResponse::FileDescriptorResponse(files) = answer else {
        panic!("{answer:?}")
    };
    let file = FileDescriptorProto::decode(&*files.file_descriptor_proto[0]);
    file.expect("a descriptor").name().to_owned()
}

#[tokio::test]
async fn tools_that_know_only_the_older_reflection_are_served_too() {
    use v1alpha::server_reflection_client::ServerReflectionClient;
    use v1alpha::server_reflection_request::MessageRequest;
    use v1alpha::server_reflection_response::MessageResponse;
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway).await;
    let mut client = ServerReflectionClient::new(channel(address).await);
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = client.server_reflection_info(tokio_stream::once(request));
    let mut answers = answers.await.expect("served").into_inner();
    let answer = answers.message().await.expect("open").expect("an answer");
    let Some(MessageResponse::ListServicesResponse(services)) = answer.message_response else {
        panic!("no list")
    };
    assert!(services.service.iter().any(|s| s.name == SERVICE));
}

#[tokio::test]
async fn streams_that_are_not_read_stall_neither_health_nor_other_calls() {
    let gateway = Gateway::new();
    gateway.fill_tiny().await;
    let (address, _task) = serve(&gateway).await;
    // One connection for all of it.
    let channel = channel(address).await;
    let mut stalled = Vec::new();
    for _ in 0..8 {
        let (requests, receiver) = mpsc::channel(1);
        let mut client = IngestServiceClient::new(channel.clone());
        let answers = client.append_stream(ReceiverStream::new(receiver)).await;
        stalled.push(answers.expect("opens"));
        let large = format!("{{\"x\":\"{}\"}}\n", "x".repeat(100_000));
        tokio::spawn(async move {
            // Until the stream's window is full; then this waits for ever.
            while requests.send(batch("tiny", &large)).await.is_ok() {}
        });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut health = HealthClient::new(channel.clone());
    let check = tokio::time::timeout(DEADLINE, health.check(named("")));
    let check = check.await.expect("not stalled").expect("answers");
    assert_eq!(check.into_inner().status(), ServingStatus::Serving);
    let mut client = IngestServiceClient::new(channel);
    let large = "{\"a\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}\n".repeat(9_000);
    let call = tokio::time::timeout(DEADLINE, client.append(batch("", &large)));
    let answer = call.await.expect("not stalled").expect("taken");
    assert_eq!(answer.into_inner().accepted, 9_000);
    until("it is in the spool", || {
        gateway.accepted("logstash") == 9_000
    })
    .await;
}
