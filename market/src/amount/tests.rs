//! Tests of the texts that people write.

use serde::{Deserialize, Serialize};

use super::*;

#[test]
fn amounts_are_exact() {
    for (text, base_units) in [
        ("2.5 CTK", 2_500_000_000_000_000_000),
        ("2.5CTK", 2_500_000_000_000_000_000),
        (" 0.000000000000000001 CTK ", 1),
        ("0 CTK", 0),
        ("1000000 CTK", 1_000_000 * BASE_UNITS_PER_CTK),
    ] {
        assert_eq!(parse_amount(text), Ok(base_units), "{text}");
    }
    assert_eq!(format_amount(2_500_000_000_000_000_000), "2.5 CTK");
    assert_eq!(format_amount(1), "0.000000000000000001 CTK");
    assert_eq!(format_amount(0), "0 CTK");
}

#[test]
fn every_amount_reads_back() {
    for base_units in [0, 1, 999, BASE_UNITS_PER_CTK - 1, BASE_UNITS_PER_CTK, u128::MAX / 2, u128::MAX] {
        assert_eq!(parse_amount(&format_amount(base_units)), Ok(base_units));
    }
}

#[test]
fn bad_amounts_name_the_input_the_problem_and_an_example() {
    let problem = |text: &str| parse_amount(text).unwrap_err().problem;
    assert_eq!(problem(""), NO_NUMBER);
    assert_eq!(problem("-1 CTK"), NO_NUMBER);
    assert_eq!(problem(".5 CTK"), NO_NUMBER);
    assert_eq!(problem("1. CTK"), NO_NUMBER);
    assert_eq!(problem("1.2.3 CTK"), NO_NUMBER);
    assert_eq!(problem("5"), NO_UNIT);
    assert_eq!(problem("5 ETH"), UNKNOWN_UNIT);
    assert_eq!(problem("1e3 CTK"), UNKNOWN_UNIT);
    assert_eq!(problem("1,5 CTK"), UNKNOWN_UNIT);
    assert_eq!(problem("0.0000000000000000001 CTK"), TOO_PRECISE);
    assert_eq!(problem("340282366920938463463.5 CTK"), TOO_LARGE);
    assert_eq!(problem(&format!("{} CTK", "9".repeat(60))), TOO_LARGE);
    let text = parse_amount("5").unwrap_err().to_string();
    assert_eq!(text, "\"5\" is not an amount: the unit is missing; write it like \"2.5 CTK\"");
}

#[test]
fn rates_by_the_second_minute_hour_and_day() {
    assert_eq!(parse_rate("0.0025 CTK/s"), Ok(2_500_000_000_000_000));
    assert_eq!(parse_rate("9 CTK/h"), Ok(2_500_000_000_000_000));
    assert_eq!(parse_rate("0.15 CTK/min"), Ok(2_500_000_000_000_000));
    assert_eq!(parse_rate("216 CTK/d"), Ok(2_500_000_000_000_000));
    assert_eq!(parse_rate("1 CTK/h"), Ok(277_777_777_777_777));
    assert_eq!(format_rate(2_500_000_000_000_000), "0.0025 CTK/s");
    assert_eq!(parse_rate(&format_rate(u64::MAX)), Ok(u64::MAX));
    let problem = |text: &str| parse_rate(text).unwrap_err().problem;
    assert_eq!(problem("1 CTK"), UNKNOWN_UNIT);
    assert_eq!(problem("0 CTK/s"), TOO_SMALL);
    assert_eq!(problem("0.000000000000003599 CTK/h"), TOO_SMALL);
    assert_eq!(problem("19 CTK/s"), TOO_LARGE);
}

#[test]
fn durations_may_have_several_parts() {
    assert_eq!(parse_duration("90s"), Ok(90));
    assert_eq!(parse_duration("2h"), Ok(7_200));
    assert_eq!(parse_duration("1h30m"), Ok(5_400));
    assert_eq!(parse_duration(" 1d 2h "), Ok(93_600));
    assert_eq!(format_duration(93_600), "1d2h");
    assert_eq!(format_duration(0), "0s");
    for seconds in [1, 59, 60, 3_661, 86_400, u32::MAX] {
        assert_eq!(parse_duration(&format_duration(u64::from(seconds))), Ok(seconds));
    }
    let problem = |text: &str| parse_duration(text).unwrap_err().problem;
    assert_eq!(problem(""), NO_NUMBER);
    assert_eq!(problem("h"), NO_NUMBER);
    assert_eq!(problem("-5s"), NO_NUMBER);
    assert_eq!(problem("90"), NO_UNIT);
    assert_eq!(problem("1.5h"), FRACTION);
    assert_eq!(problem("3w"), UNKNOWN_UNIT);
    assert_eq!(problem("50000d"), TOO_LARGE);
    assert_eq!(problem("4294967295s 1s"), TOO_LARGE);
}

#[test]
fn sizes_are_binary() {
    assert_eq!(parse_mib("512MiB"), Ok(512));
    assert_eq!(parse_mib("2 GiB"), Ok(2_048));
    assert_eq!(parse_gib("1TiB"), Ok(1_024));
    assert_eq!(parse_gib("2048MiB"), Ok(2));
    assert_eq!(format_mib(2_048), "2GiB");
    assert_eq!(format_mib(0), "0MiB");
    assert_eq!(format_gib(20), "20GiB");
    assert_eq!(parse_mib("512MB").unwrap_err().problem, UNKNOWN_UNIT);
    assert_eq!(parse_mib("0.5GiB").unwrap_err().problem, FRACTION);
    assert_eq!(parse_gib("512MiB").unwrap_err().problem, PART_OF_UNIT);
    assert_eq!(parse_gib("9999999TiB").unwrap_err().problem, TOO_LARGE);
}

#[test]
fn configs_read_and_write_texts() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Config {
        #[serde(with = "ctk")]
        deposit: u128,
        #[serde(with = "rate")]
        price: u64,
        #[serde(with = "duration")]
        longest: u32,
        #[serde(with = "mebibytes")]
        memory: u32,
        #[serde(with = "gibibytes")]
        disk: u32,
    }
    let json = r#"{"deposit":"5 CTK","price":"0.001 CTK/s","longest":"2h","memory":"512MiB","disk":"10GiB"}"#;
    let config: Config = serde_json::from_str(json).unwrap();
    assert_eq!((config.longest, config.memory, config.disk), (7_200, 512, 10));
    assert_eq!(serde_json::to_string(&config).unwrap(), json);
    let error = serde_json::from_str::<Config>(&json.replace("5 CTK", "5")).unwrap_err().to_string();
    assert!(error.starts_with("\"5\" is not an amount"), "{error}");
}
