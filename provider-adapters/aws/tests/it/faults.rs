//! What EC2 refuses, or fails at, while a lease is served.

use sublet_adapter::ErrorKind;
use sublet_adapter::conformance::Bench;
use sublet_moto::Fault;

use crate::bench::AwsBench;

#[tokio::test]
async fn refusals_are_laid_at_the_right_door_and_leave_nothing() {
    let mut bench = AwsBench::new().await;
    bench.config.retries = 0;
    let cases = [
        ("InsufficientInstanceCapacity", 500, ErrorKind::Retryable),
        ("RequestLimitExceeded", 503, ErrorKind::Retryable),
        ("VcpuLimitExceeded", 400, ErrorKind::Quota),
        ("InstanceLimitExceeded", 400, ErrorKind::Quota),
        ("UnauthorizedOperation", 403, ErrorKind::Configuration),
        ("IdempotentParameterMismatch", 400, ErrorKind::Permanent),
    ];
    let adapter = bench.open();
    let order = bench.order("refused");
    for (code, status, kind) in cases {
        bench.moto.fault(&Fault::new("RunInstances", code, status)).await.unwrap();
        let error = adapter.provision(&order).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.problem().contains(code), "{error}");
    }
    assert_eq!(bench.leftovers(order.lease).await, Vec::<String>::new());
    assert!(adapter.provision(&order).await.unwrap().is_running());
}

#[tokio::test]
async fn passing_trouble_is_not_even_noticed() {
    let bench = AwsBench::new().await;
    let busy = |action: &str| Fault { times: 2, ..Fault::new(action, "RequestLimitExceeded", 503) };
    let adapter = bench.open();
    let order = bench.order("busy");
    for action in ["DescribeInstances", "RunInstances"] {
        bench.moto.fault(&busy(action)).await.unwrap();
    }
    assert!(adapter.provision(&order).await.unwrap().is_running());
    bench.moto.fault(&busy("TerminateInstances")).await.unwrap();
    adapter.deprovision(order.lease).await.unwrap();
    assert_eq!(bench.leftovers(order.lease).await, Vec::<String>::new());
}

#[tokio::test]
async fn other_settings_under_a_lease_that_was_ended_are_told_as_such() {
    let mut bench = AwsBench::new().await;
    let order = bench.order("changed");
    let instance = bench.open().provision(&order).await.unwrap();
    bench.moto.aws_cli(&["ec2", "terminate-instances", "--instance-ids", &instance.id]).await.unwrap();
    // Without the secret the host key is another one, and the request with it.
    bench.config.state_dir = bench.config.state_dir.with_file_name("elsewhere");
    let error = bench.open().provision(&order).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Permanent, "{error}");
    assert!(error.remedy().contains("secret"), "{error}");
}
