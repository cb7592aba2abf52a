//! What `check` finds wrong with an account or its settings, and what it says to do.

use std::time::{Duration, Instant};

use sublet_adapter::conformance::Bench;
use sublet_adapter::{AdapterError, ErrorKind};
use sublet_adapter_aws::{Aws, AwsConfig};
use sublet_market::Resources;
use sublet_moto::Fault;

use crate::bench::AwsBench;

async fn check(config: &AwsConfig) -> Result<(), AdapterError> {
    use sublet_adapter::Adapter as _;
    Aws::new(config.clone()).unwrap().check().await
}

#[tokio::test]
async fn a_sound_account_passes_and_offers_name_what_it_has() {
    let bench = AwsBench::new().await;
    let adapter = bench.open();
    adapter.check().await.unwrap();
    let traits = adapter.traits();
    let facts =
        ["adapter=aws", "arch=x86_64", "image=amazon-linux", "instance-type=t3.micro", "region=eu-north-1"];
    assert_eq!(traits, facts);
    assert_eq!(adapter.list().await.unwrap(), Vec::new(), "the rehearsal has started nothing");
}

#[tokio::test]
async fn check_names_the_remedy_of_whatever_is_wrong() {
    let bench = AwsBench::new().await;
    type Damage = fn(&mut AwsConfig);
    let cases: [(&str, Damage, &str); 8] = [
        ("ami", |c| ami(c, "ami-0123456789abcdef0"), "ids differ by region"),
        ("malformed ami", |c| ami(c, "nonsense"), "ids differ by region"),
        ("region", |c| c.region = "eu-nowhere-1".into(), "region \"eu-nowhere-1\""),
        ("region of another image", |c| c.region = "us-east-1".into(), "ids differ by region"),
        ("type", |c| types(c, "t9.micro", 1), "instance_types"),
        ("size", |c| types(c, "t3.micro", 64), "vcpus to at most 2"),
        ("architecture", |c| types(c, "t4g.micro", 1), "one architecture"),
        ("state", |c| c.state_dir = "/proc/nowhere".into(), "state_dir"),
    ];
    check(&bench.config).await.unwrap();
    for (what, damage, remedy) in cases {
        let mut config = bench.config.clone();
        damage(&mut config);
        let error = check(&config).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{what}: {error}");
        assert!(error.remedy().contains(remedy), "{what}: {error}");
    }
}

fn ami(config: &mut AwsConfig, id: &str) {
    config.images.values_mut().for_each(|image| image.ami = id.to_owned());
}

fn types(config: &mut AwsConfig, name: &str, vcpus: u32) {
    let resources = Resources { vcpus, memory_mib: 512, disk_gib: 30, ..Resources::default() };
    config.instance_types = [(name.to_owned(), resources)].into();
}

#[tokio::test]
async fn keys_and_permissions_are_the_operators_matter() {
    let bench = AwsBench::new().await;
    let file = bench.config.credentials_file.clone().unwrap();
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, good.replace("tests-only", "wrong").replace("only-the-strict", "wrong")).unwrap();
    let error = check(&bench.config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    assert!(error.problem().contains("AuthFailure") && error.remedy().contains("access key"), "{error}");

    for content in ["", "[other]\naws_access_key_id = a\n"] {
        std::fs::write(&file, content).unwrap();
        let error = check(&bench.config).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
        assert!(error.remedy().contains("AWS_ACCESS_KEY_ID"), "{error}");
    }

    std::fs::write(&file, good).unwrap();
    bench.moto.fault(&Fault::new("RunInstances", "UnauthorizedOperation", 403)).await.unwrap();
    let error = check(&bench.config).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
    assert!(error.remedy().contains("docs/provider-aws.md"), "{error}");
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_or_does_not_answer_costs_bounded_time() {
    let mut bench = AwsBench::new().await;
    bench.config.api_timeout = Duration::from_secs(2);
    let order = bench.order("nowhere");
    let patience = Duration::from_secs(5);

    bench.moto.pause();
    for (what, endpoint) in [("hanging", bench.moto.endpoint()), ("refusing", "http://127.0.0.1:9")] {
        let mut config = bench.config.clone();
        config.endpoint_url = Some(endpoint.to_owned());
        let began = Instant::now();
        let error = check(&config).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Retryable, "{what}: {error}");
        assert!(error.remedy().contains("network"), "{what}: {error}");
        assert!(began.elapsed() < patience, "{what}: {:?}", began.elapsed());
        let adapter: Box<dyn sublet_adapter::Adapter> = Box::new(Aws::new(config).unwrap());
        let (made, ended, listed, stopped, told) = tokio::join!(
            adapter.provision(&order),
            adapter.deprovision(order.lease),
            adapter.list(),
            adapter.stop(order.lease),
            adapter.logs(order.lease, 1),
        );
        for error in [made.err(), ended.err(), listed.err(), stopped.err(), told.err()] {
            assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::Retryable), "{what}");
        }
    }
    bench.moto.resume();
    // It has all the requests to work off that nobody waits for any more.
    bench.config.api_timeout = Duration::from_secs(60);
    check(&bench.config).await.unwrap();
}
