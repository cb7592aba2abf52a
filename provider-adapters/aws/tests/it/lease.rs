//! What a lease comes to in the account: seen by the AWS command line, through lost state, doubles and lost answers.

use std::time::Duration;

use alloy_primitives::Address;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sublet_adapter::conformance::{Bench, PROVIDER};
use sublet_adapter::{ErrorKind, InstanceState, LeaseOrder};
use sublet_adapter_aws::{Aws, Ready};
use sublet_moto::{Fault, IMAGE_DISK_GIB, IMAGE_USER, MotoOptions};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::bench::AwsBench;

fn tag<'a>(instance: &'a Value, key: &str) -> Option<&'a str> {
    let tags = instance["Tags"].as_array().unwrap();
    tags.iter().find(|tag| tag["Key"] == key).map(|tag| tag["Value"].as_str().unwrap())
}

#[tokio::test]
async fn the_account_shows_what_belongs_to_which_lease() {
    let bench = AwsBench::new().await;
    let order = bench.order("tagged");
    let instance = bench.open().provision(&order).await.unwrap();
    let seen = bench.instance(order.lease).await;
    assert_eq!(seen["InstanceId"], instance.id);
    assert_eq!(tag(&seen, "AllocatedBy"), Some("TokenSystem"));
    assert_eq!(tag(&seen, "TokenCost"), Some("0.9"));
    assert_eq!(tag(&seen, "sublet:lease"), Some(format!("{:#x}", order.lease).as_str()));
    assert_eq!(tag(&seen, "sublet:provider"), Some(PROVIDER.to_string().as_str()));
    assert_eq!(seen["InstanceType"], "t3.micro");
    assert_eq!(seen["MetadataOptions"]["HttpTokens"], "required");
    assert_eq!(seen["ClientToken"].as_str().unwrap(), format!("{:x}", order.lease));
    let access = instance.access.unwrap();
    assert_eq!((access.user.as_str(), access.port), (IMAGE_USER, 22));
    assert_eq!(seen["PublicIpAddress"], access.host);

    let volumes = ["ec2", "describe-volumes", "--query", "Volumes[?Attachments[0].InstanceId]"];
    let volumes = bench.moto.aws_cli(&volumes).await.unwrap();
    let [volume] = volumes.as_array().unwrap().as_slice() else { panic!("{volumes}") };
    assert_eq!(volume["Size"], IMAGE_DISK_GIB);
    assert_eq!(seen["BlockDeviceMappings"][0]["Ebs"]["DeleteOnTermination"], true);
    assert_eq!(tag(volume, "AllocatedBy"), Some("TokenSystem"));
    assert_eq!(bench.leftovers(order.lease).await.len(), 2, "the instance and its disk");
}

#[tokio::test]
async fn the_machine_is_told_the_tenants_keys_its_host_key_and_nothing_else() {
    let bench = AwsBench::new().await;
    let order = bench.order("told");
    let instance = bench.open().provision(&order).await.unwrap();
    let arguments = ["--attribute", "userData", "--instance-id", &instance.id];
    let told = bench
        .moto
        .aws_cli(&[&["ec2", "describe-instance-attribute"][..], &arguments].concat())
        .await
        .unwrap();
    let text = STANDARD.decode(told["UserData"]["Value"].as_str().unwrap()).unwrap();
    let text = String::from_utf8(text).unwrap();
    let config: Value = serde_json::from_str(text.strip_prefix("#cloud-config\n").unwrap()).unwrap();

    let keys: Vec<_> = config.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["ssh_authorized_keys", "ssh_deletekeys", "ssh_keys", "ssh_pwauth"]);
    assert_eq!(config["ssh_authorized_keys"], serde_json::json!(order.manifest.ssh_authorized_keys));
    let host_keys: Vec<_> = config["ssh_keys"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(host_keys, ["ed25519_private", "ed25519_public"]);
    assert_eq!(config["ssh_keys"]["ed25519_public"], instance.access.unwrap().host_key);
    let private = config["ssh_keys"]["ed25519_private"].as_str().unwrap();
    assert!(private.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----"));
    let tags = bench.instance(order.lease).await["Tags"].to_string();
    let secret_line = private.lines().nth(2).unwrap();
    assert!(!tags.contains("PRIVATE") && !tags.contains(secret_line), "{tags}");
}

#[tokio::test]
async fn everything_lost_but_the_account_and_the_machine_is_still_known() {
    let mut bench = AwsBench::new().await;
    let order = bench.order("lost");
    let instance = bench.open().provision(&order).await.unwrap();
    // Another host, without the secret: nothing but the account's credentials.
    bench.config.state_dir = bench.config.state_dir.with_file_name("elsewhere");
    let adapter = bench.open();
    assert_eq!(adapter.list().await.unwrap(), vec![instance.clone()]);
    assert_eq!(adapter.provision(&order).await.unwrap(), instance, "with the host key that it really has");
    adapter.deprovision(order.lease).await.unwrap();
    assert_eq!(bench.leftovers(order.lease).await, Vec::<String>::new());
    let gone = bench.instances(order.lease).await;
    assert!(
        gone.iter()
            .all(|one| one["State"]["Name"] == "terminated" || one["State"]["Name"] == "shutting-down")
    );
}

#[tokio::test]
async fn two_nodes_that_do_not_see_each_other_start_one_machine() {
    let options = MotoOptions { hidden: Duration::from_secs(2), ..MotoOptions::default() };
    let bench = AwsBench::with(options).await;
    let order = bench.order("race");
    let nodes = [bench.open(), bench.open(), bench.open()];
    let started = futures::future::join_all(nodes.iter().map(|node| node.provision(&order))).await;
    let ids: Vec<String> = started.into_iter().map(|one| one.unwrap().id).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(bench.instances(order.lease).await.len(), 1);
}

#[tokio::test]
async fn a_lost_answer_is_not_a_second_machine() {
    let mut bench = AwsBench::new().await;
    bench.config.retries = 0;
    let order = bench.order("unheard");
    let lost = Fault { carried_out: true, ..Fault::new("RunInstances", "InternalError", 500) };
    bench.moto.fault(&lost).await.unwrap();
    let adapter = bench.open();
    let error = adapter.provision(&order).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retryable, "{error}");
    assert!(adapter.provision(&order).await.unwrap().is_running());
    assert_eq!(bench.instances(order.lease).await.len(), 1);
}

#[tokio::test]
async fn a_machine_that_was_ordered_and_never_seen_is_ended_all_the_same() {
    let options = MotoOptions { hidden: Duration::from_secs(2), ..MotoOptions::default() };
    let mut bench = AwsBench::with(options).await;
    bench.config.retries = 0;
    let order = bench.order("unseen");
    let lost = Fault { carried_out: true, ..Fault::new("RunInstances", "InternalError", 500) };
    bench.moto.fault(&lost).await.unwrap();
    let adapter = bench.open();
    adapter.provision(&order).await.unwrap_err();
    adapter.deprovision(order.lease).await.unwrap();
    let instances = bench.instances(order.lease).await;
    assert_eq!(instances.len(), 1, "it was there, and is on its way out: {instances:?}");
    assert_eq!(bench.leftovers(order.lease).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_lease_whose_machine_was_ended_gets_another() {
    let bench = AwsBench::new().await;
    let order = bench.order("again");
    let adapter = bench.open();
    let mut earlier = Vec::new();
    for _ in 0..3 {
        let instance = adapter.provision(&order).await.unwrap();
        assert!(!earlier.contains(&instance.id));
        earlier.push(instance.id.clone());
        bench.moto.aws_cli(&["ec2", "terminate-instances", "--instance-ids", &instance.id]).await.unwrap();
        assert_eq!(bench.open().describe(order.lease).await.unwrap(), None);
    }
}

#[tokio::test]
async fn doubles_are_one_lease_and_end_together() {
    let bench = AwsBench::new().await;
    let order = bench.order("double");
    let adapter = bench.open();
    let instance = adapter.provision(&order).await.unwrap();
    // As if EC2 had forgotten the token: a copy with the same tags.
    let tags = bench.instance(order.lease).await["Tags"].clone();
    let tags = serde_json::json!([{ "ResourceType": "instance", "Tags": tags }]).to_string();
    let run = ["ec2", "run-instances", "--image-id", sublet_moto::IMAGE_ID, "--instance-type", "t3.micro"];
    bench.moto.aws_cli(&[&run[..], &["--tag-specifications", &tags]].concat()).await.unwrap();
    while bench.instances(order.lease).await.len() < 2 {}
    assert_eq!(adapter.list().await.unwrap(), vec![instance], "the older one is the lease's");
    adapter.deprovision(order.lease).await.unwrap();
    assert_eq!(bench.leftovers(order.lease).await, Vec::<String>::new());
}

#[tokio::test]
async fn long_lists_come_in_pages_and_other_peoples_machines_are_left_alone() {
    let mut bench = AwsBench::new().await;
    bench.config.max_instances = Some(9);
    bench.config.capacity = None;
    let adapter = bench.open();
    let orders: Vec<LeaseOrder> = (0..5).map(|n| bench.order(&format!("page {n}"))).collect();
    let started = futures::future::join_all(orders.iter().map(|order| adapter.provision(order))).await;
    assert!(started.iter().all(Result::is_ok), "{started:?}");
    let run = ["ec2", "run-instances", "--image-id", sublet_moto::IMAGE_ID, "--instance-type", "t3.micro"];
    bench.moto.aws_cli(&run).await.unwrap();
    let listed = adapter.list().await.unwrap();
    assert_eq!(listed.len(), 5);
    assert!(listed.is_sorted_by_key(|instance| instance.lease));

    bench.config.provider = Some(Address::repeat_byte(0x77));
    let other = bench.open();
    assert_eq!(other.list().await.unwrap(), Vec::new());
    other.deprovision(orders[0].lease).await.unwrap();
    assert_eq!(adapter.list().await.unwrap().len(), 5);
    let error = other.provision(&orders[0]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
}

#[tokio::test]
async fn ready_means_that_an_ssh_server_greets_and_is_remembered() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let options = MotoOptions { address: Some("127.0.0.1".into()), ..MotoOptions::default() };
    let mut bench = AwsBench::with(options).await;
    bench.config.ready = Ready::Ssh;
    bench.config.images.values_mut().for_each(|image| image.ssh_port = port);
    let order = bench.order("greeting");
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"SSH-2.0-test\r\n").await;
        }
    });
    let instance = bench.open().provision(&order).await.unwrap();
    let access = instance.access.clone().unwrap();
    assert_eq!((access.host.as_str(), access.port), ("127.0.0.1", port));

    // The tenant may well shut the provider out later: it stays a running machine.
    server.abort();
    let reopened = bench.open();
    assert_eq!(reopened.describe(order.lease).await.unwrap(), Some(instance));
    // A later start is another matter.
    reopened.stop(order.lease).await.unwrap();
    bench.config.boot_timeout = Duration::from_secs(4);
    let error = bench.open().provision(&order).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retryable);
    assert!(error.remedy().contains("port 22"), "{error}");
    let seen = bench.open().describe(order.lease).await.unwrap().unwrap();
    assert_eq!(seen.state, InstanceState::Starting);
    bench.open().deprovision(order.lease).await.unwrap();
}

#[tokio::test]
async fn the_adapter_may_be_opened_without_a_network() {
    let mut bench = AwsBench::new().await;
    bench.config.endpoint_url = Some("http://127.0.0.1:9".into());
    Aws::new(bench.config.clone()).unwrap();
}
