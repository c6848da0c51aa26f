//! The gRPC contract, generated from `proto/stashgate/v1/ingest.proto`.

#![allow(missing_docs, clippy::all)]

tonic::include_proto!("stashgate.v1");

/// The encoded descriptors of the contract, for the reflection service.
pub const FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/ingest.descriptors.bin"));
