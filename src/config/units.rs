//! How values are written: sizes, durations, addresses, secrets. Each error
//! shows what a good value looks like.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize, Serializer};

/// A value that is never shown: not in logs, status, errors or settings.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "SecretText")]
pub struct Secret(String);

/// A text that is not shown; a type error of serde's own would show it.
#[derive(Deserialize)]
#[serde(untagged, expecting = "it is a text; put it in quotes")]
pub(super) enum SecretText {
    Text(String),
}

impl From<SecretText> for Secret {
    fn from(SecretText::Text(value): SecretText) -> Self {
        Self(value)
    }
}

impl Secret {
    /// Hides `value`.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for comparing.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str("(hidden)")
    }
}

/// `output.compression`: `"auto"`, or a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Level", into = "Level")]
pub enum Compression {
    /// None on this machine, level 3 beyond it.
    Auto,
    /// Of zlib: 0 for none, 1 (quick) to 9 (small).
    Level(u8),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "it is \"auto\" or a level from 0 to 9")]
enum Level {
    Number(i64),
    Text(String),
}

impl Compression {
    /// The level for a peer at `address`.
    pub fn level(self, address: IpAddr) -> u32 {
        match self {
            Self::Auto if address.is_loopback() => 0,
            Self::Auto => 3,
            Self::Level(level) => u32::from(level),
        }
    }
}

impl TryFrom<Level> for Compression {
    type Error = String;

    fn try_from(level: Level) -> Result<Self, String> {
        let level = match level {
            Level::Text(text) if text == "auto" => return Ok(Self::Auto),
            Level::Text(text) => text.parse().ok(),
            Level::Number(number) => u8::try_from(number).ok(),
        };
        let level = level.filter(|level| *level <= 9);
        level
            .map(Self::Level)
            .ok_or_else(|| "it is \"auto\" or a level from 0 to 9".to_owned())
    }
}

impl From<Compression> for Level {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::Auto => Self::Text("auto".into()),
            Compression::Level(level) => Self::Number(level.into()),
        }
    }
}

/// Durations as text: `7d`, `250ms`.
pub(super) mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    const DAY: u64 = 24 * 3600;

    pub(in super::super) fn serialize<S: Serializer>(
        value: &Duration,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let whole_days = value.subsec_nanos() == 0 && value.as_secs().is_multiple_of(DAY);
        if whole_days && !value.is_zero() {
            to.collect_str(&format_args!("{}d", value.as_secs() / DAY))
        } else {
            to.collect_str(&humantime::format_duration(*value))
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        humantime::parse_duration(&text).map_err(|e| {
            D::Error::custom(format!(
                "{text:?} is no duration such as \"7d\" or \"250ms\": {e}"
            ))
        })
    }
}

/// Sizes as text: `8MiB`; a plain number is bytes.
pub(super) mod bytes {
    use bytesize::ByteSize;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Written without loss: in the largest unit that leaves no remainder.
    pub(in super::super) fn serialize<S: Serializer>(
        value: &ByteSize,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let units = ["TiB", "GiB", "MiB", "KiB"];
        for (shift, unit) in [40, 30, 20, 10].into_iter().zip(units) {
            if value.0 != 0 && value.0.is_multiple_of(1 << shift) {
                return to.collect_str(&format_args!("{}{unit}", value.0 >> shift));
            }
        }
        to.collect_str(&format_args!("{}B", value.0))
    }

    #[derive(Deserialize)]
    #[serde(
        untagged,
        expecting = "write a size such as \"8MiB\", or a number of bytes"
    )]
    enum Written {
        Number(u64),
        Text(String),
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<ByteSize, D::Error> {
        match Written::deserialize(from)? {
            Written::Number(bytes) => Ok(ByteSize(bytes)),
            Written::Text(text) => text.parse().map_err(|_| {
                D::Error::custom(format!("{text:?} is no size such as \"8MiB\" or \"500KB\""))
            }),
        }
    }
}

/// Addresses to listen on.
pub(super) mod address {
    use std::net::SocketAddr;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in super::super) fn serialize<S: Serializer>(
        value: &SocketAddr,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<SocketAddr, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(|_| {
            D::Error::custom(format!(
                "{text:?} is no address to listen on; write IP:PORT, such as \"127.0.0.1:7171\" or \"0.0.0.0:7171\""
            ))
        })
    }
}
