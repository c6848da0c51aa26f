//! `docs/configuration.md` says what is.

use stashgate::config::Config;

const PAGE: &str = include_str!("../docs/configuration.md");

#[test]
fn the_defaults_in_the_page_are_the_defaults() {
    let begin = PAGE
        .find("```toml\ndata_dir")
        .expect("the block of defaults")
        + "```toml\n".len();
    let length = PAGE[begin..].find("```").expect("its end");
    let defaults = toml::to_string(&Config::default()).expect("printed");
    assert_eq!(&PAGE[begin..begin + length], defaults);
}

#[test]
fn every_setting_has_a_line_in_the_page() {
    let defaults = toml::Table::try_from(Config::default()).expect("a table");
    let absent_by_default = [
        "admin.token",
        "archive.place",
        "spool.redis.user",
        "spool.redis.password",
        "spool.redis.sentinel_master",
        "spool.redis.sentinel_password",
        "spool.redis.ca_file",
        "spool.redis.cert_file",
        "spool.redis.key_file",
        "queues.NAME.output.http.user",
        "queues.NAME.output.http.password",
        "queues.NAME.output.http.token",
        "queues.NAME.output.tls.ca_file",
        "queues.NAME.output.tls.cert_file",
        "queues.NAME.output.tls.key_file",
        "queues.NAME.output.tls.server_name",
    ];
    let mut settings = absent_by_default.map(str::to_owned).to_vec();
    collect("", &defaults, &mut settings);
    for setting in settings {
        let row = format!("| `{setting}` |");
        assert!(PAGE.contains(&row), "the page has no row {row}");
    }
}

/// The settings of `table`; names of the user's choice are called `NAME`.
fn collect(prefix: &str, table: &toml::Table, found: &mut Vec<String>) {
    for (key, value) in table {
        let named = ["queues.", "receivers.tcp."].contains(&prefix);
        let path = format!("{prefix}{}", if named { "NAME" } else { key });
        match value {
            toml::Value::Table(inner) => collect(&format!("{path}."), inner, found),
            _ => found.push(path),
        }
    }
}
