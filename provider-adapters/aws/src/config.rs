//! The configuration of the AWS account.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use alloy_primitives::Address;
use serde::{Deserialize, Serialize};
use sublet_adapter::AdapterError;
use sublet_adapter::support::duration_text;
use sublet_market::{Resources, Traits};

/// The type of machine when nothing is said: the least that runs every common image, and cheap.
const DEFAULT_TYPE: &str = "t3.micro";
/// What a [`DEFAULT_TYPE`] is, with a root disk of at most 30 GiB.
const DEFAULT_TYPE_RESOURCES: Resources =
    Resources { vcpus: 2, memory_mib: 1024, disk_gib: 30, gpus: 0, disk_iops: 0, net_mbps: 0 };

/// Settings of the AWS adapter: the table `[provider.aws]` of the node's configuration file.
///
/// Credentials are not settings: they come from AWS's standard chain (environment, profile files, container or instance
/// role), or from `credentials_file` alone where that is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AwsConfig {
    /// The region, such as `eu-north-1`.
    pub region: String,
    /// What tenants may choose: an image name, as in offers and manifests, and what it is in this region.
    pub images: BTreeMap<String, AwsImage>,
    /// Where the secret is kept from which host keys are derived; made with mode 0700.
    pub state_dir: PathBuf,
    /// All that leases may use together. At least one of `capacity` and `max_instances` is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Resources>,
    /// How many leases may run at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_instances: Option<u32>,
    /// The types of machine that may be started, and what one of each gives a tenant. A lease gets the smallest that
    /// covers it. `disk_gib` is the largest root disk that may be ordered with the type.
    #[serde(default = "default_instance_types")]
    pub instance_types: BTreeMap<String, Resources>,
    /// One of `instance_types` that every lease gets, whatever its size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_type: Option<String>,
    /// The subnet of the machines; the account's default one when left out. It has to give public addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet_id: Option<String>,
    /// Firewall rules of the machines; they have to let port 22 in. The network's default group when left out.
    #[serde(default)]
    pub security_group_ids: Vec<String>,
    /// An EC2 key pair that also gets into every machine: its holder can read whatever the tenants have there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_name: Option<String>,
    /// Another endpoint than the region's own, for compatible clouds and tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_url: Option<String>,
    /// The profile in the credential files; `AWS_PROFILE` or `default` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The only place for credentials, instead of the standard chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<PathBuf>,
    /// When a machine counts as running.
    #[serde(default)]
    pub ready: Ready,
    /// How long a machine may take from the order until it is ready.
    #[serde(default = "default_boot_timeout", with = "duration_text")]
    pub boot_timeout: Duration,
    /// How long a machine may take to stop.
    #[serde(default = "default_stop_timeout", with = "duration_text")]
    pub stop_timeout: Duration,
    /// How long a request to AWS may take, repetitions included.
    #[serde(default = "default_api_timeout", with = "duration_text")]
    pub api_timeout: Duration,
    /// How often a request is repeated when AWS is busy or the network fails.
    #[serde(default = "default_retries")]
    pub retries: u32,
    /// The provider's account on chain: the tag `sublet:provider` of the machines. With it, machines of other providers
    /// in the same AWS account are left alone. The node sets it to its own account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Address>,
}

/// A machine image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AwsImage {
    /// Its id in the region. It has to start cloud-init and an ssh server.
    pub ami: String,
    /// The login name that cloud-init gives the tenant's keys to: `admin` in Debian's images, `ubuntu` in Ubuntu's,
    /// `ec2-user` in Amazon's.
    pub user: String,
    /// The port of its ssh server.
    #[serde(default = "default_ssh_port")]
    pub ssh_port: u16,
}

/// When a machine counts as running.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ready {
    /// When an ssh server greets at its public address.
    #[default]
    Ssh,
    /// When EC2 says that it runs: for clouds whose addresses the node cannot reach.
    Running,
}

impl AwsConfig {
    /// Defaults for everything that has one.
    #[must_use]
    pub fn new(region: String, images: BTreeMap<String, AwsImage>, state_dir: PathBuf, max: u32) -> Self {
        Self {
            region,
            images,
            state_dir,
            capacity: None,
            max_instances: Some(max),
            instance_types: default_instance_types(),
            instance_type: None,
            subnet_id: None,
            security_group_ids: Vec::new(),
            key_name: None,
            endpoint_url: None,
            profile: None,
            credentials_file: None,
            ready: Ready::default(),
            boot_timeout: default_boot_timeout(),
            stop_timeout: default_stop_timeout(),
            api_timeout: default_api_timeout(),
            retries: default_retries(),
            provider: None,
        }
    }

    /// What can be said about the settings without asking AWS.
    ///
    /// # Errors
    /// [`AdapterError::Configuration`] with the key and a valid example.
    pub fn validate(&self) -> Result<(), AdapterError> {
        let wrong = |problem: String, remedy: &str| Err(AdapterError::configuration(problem, remedy));
        let plain = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        };
        if !plain(&self.region) {
            return wrong(format!("region {:?} is not a region", self.region), "set region = \"eu-north-1\"");
        }
        if self.images.is_empty() {
            return wrong(
                "images is empty, so nothing could be leased".into(),
                "for example [provider.aws.images.debian-12] with ami = \"ami-…\" and user = \"admin\"",
            );
        }
        for (name, image) in &self.images {
            if !plain(&image.ami) || !plain(&image.user) || image.ssh_port == 0 {
                let remedy = "set ami = \"ami-…\", user = \"admin\" and ssh_port = 22 or none";
                return wrong(format!("images.{name} has an ami, user or ssh_port that cannot be"), remedy);
            }
        }
        self.validate_types()?;
        if self.capacity.is_none() && self.max_instances.is_none() {
            return wrong("there is neither capacity nor max_instances".into(), "set max_instances = 4");
        }
        if self.max_instances == Some(0) {
            return wrong(
                "max_instances is 0, so nothing could be leased".into(),
                "set max_instances = 4, or leave the section out",
            );
        }
        for (key, value) in [("boot_timeout", self.boot_timeout), ("api_timeout", self.api_timeout)] {
            if value.is_zero() {
                return wrong(format!("{key} is zero, so nothing would ever be done"), "set it to \"60s\"");
            }
        }
        Traits::new(self.facts()).map(drop).map_err(|error| {
            let problem = format!("image and type names do not fit the traits of an offer: {error}");
            AdapterError::configuration(problem, "name images like debian-12, and fewer of them")
        })
    }

    fn validate_types(&self) -> Result<(), AdapterError> {
        let example = "for example instance_types = { \"t3.micro\" = { vcpus = 2, memory_mib = 1024, disk_gib = 30, \
                       gpus = 0, disk_iops = 0, net_mbps = 0 } }";
        let types = &self.instance_types;
        let empty = |r: &Resources| r.vcpus == 0 || r.memory_mib == 0 || r.disk_gib == 0;
        if types.is_empty() || types.values().any(empty) {
            let problem = "instance_types is empty, or a type has no vcpus, no memory_mib or no disk_gib";
            return Err(AdapterError::configuration(problem, example));
        }
        match &self.instance_type {
            Some(fixed) if !types.contains_key(fixed) => {
                let problem = format!("instance_type {fixed:?} is not among instance_types");
                Err(AdapterError::configuration(problem, example))
            }
            _ => Ok(()),
        }
    }

    /// The types that a lease may get, with what they are.
    pub(crate) fn types(&self) -> impl Iterator<Item = (&str, &Resources)> {
        let fixed = self.instance_type.as_deref();
        let all = self.instance_types.iter().map(|(name, resources)| (name.as_str(), resources));
        all.filter(move |(name, _)| fixed.is_none_or(|fixed| fixed == *name))
    }

    /// What an offer says by itself, but for the architecture, which AWS knows.
    pub(crate) fn facts(&self) -> Vec<String> {
        let mut facts = vec!["adapter=aws".to_owned(), format!("region={}", self.region)];
        facts.extend(self.types().map(|(name, _)| format!("instance-type={name}")));
        facts.extend(self.images.keys().map(|name| format!("image={name}")));
        facts
    }
}

fn default_instance_types() -> BTreeMap<String, Resources> {
    BTreeMap::from([(DEFAULT_TYPE.to_owned(), DEFAULT_TYPE_RESOURCES)])
}

fn default_ssh_port() -> u16 {
    22
}

/// Instances start in half a minute to a minute; some types and images need two.
fn default_boot_timeout() -> Duration {
    Duration::from_secs(240)
}

/// EC2 ends a machine by force when it has not switched itself off after some minutes.
fn default_stop_timeout() -> Duration {
    Duration::from_secs(300)
}

/// Requests take about a second, and several when they are repeated.
fn default_api_timeout() -> Duration {
    Duration::from_secs(60)
}

fn default_retries() -> u32 {
    4
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"
        region = "eu-north-1"
        state_dir = "aws"
        max_instances = 4
        boot_timeout = "5m"
        [images.debian-12]
        ami = "ami-0123456789abcdef0"
        user = "admin"
    "#;

    #[test]
    fn the_least_file_is_enough_and_round_trips() {
        let config: AwsConfig = toml::from_str(EXAMPLE).unwrap();
        config.validate().unwrap();
        assert_eq!(config.ready, Ready::Ssh);
        assert_eq!(config.boot_timeout, Duration::from_secs(300));
        assert_eq!(config.types().next().unwrap().0, "t3.micro");
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<AwsConfig>(&text).unwrap(), config);
        let facts = ["adapter=aws", "region=eu-north-1", "instance-type=t3.micro", "image=debian-12"];
        assert_eq!(config.facts(), facts);
    }

    #[test]
    fn the_guide_shows_settings_that_work_and_names_every_key() {
        const GUIDE: &str = include_str!("../../../docs/provider-aws.md");
        #[derive(Deserialize)]
        struct File {
            provider: Provider,
        }
        #[derive(Deserialize)]
        struct Provider {
            aws: AwsConfig,
        }
        let example = GUIDE.split("```toml").nth(1).unwrap().split("```").next().unwrap();
        let config = toml::from_str::<File>(example).unwrap().provider.aws;
        config.validate().unwrap();
        assert_eq!(config.instance_types, default_instance_types());
        let full = AwsConfig {
            capacity: Some(DEFAULT_TYPE_RESOURCES),
            instance_type: Some(DEFAULT_TYPE.into()),
            key_name: Some("key".into()),
            endpoint_url: Some("https://ec2.example.org".into()),
            profile: Some("lease".into()),
            credentials_file: Some("credentials".into()),
            provider: Some(Address::ZERO),
            ..config
        };
        for key in toml::Table::try_from(&full).unwrap().keys() {
            assert!(GUIDE.contains(&format!("`{key}`")), "{key} is not in the guide's table");
        }
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        let error = toml::from_str::<AwsConfig>(&format!("zone = \"a\"\n{EXAMPLE}")).unwrap_err();
        assert!(error.to_string().contains("zone"), "{error}");
    }

    #[test]
    fn senseless_settings_name_the_key_and_an_example() {
        type Damage = fn(&mut AwsConfig);
        let cases: [(Damage, &str); 7] = [
            (|c| c.region = "eu north".into(), "region = \"eu-north-1\""),
            (|c| c.images.clear(), "images.debian-12"),
            (|c| c.images.get_mut("debian-12").unwrap().user = "a b".into(), "user = \"admin\""),
            (|c| c.max_instances = None, "max_instances = 4"),
            (|c| c.max_instances = Some(0), "max_instances = 4"),
            (|c| c.instance_type = Some("m5.large".into()), "instance_types = {"),
            (|c| c.api_timeout = Duration::ZERO, "60s"),
        ];
        for (damage, remedy) in cases {
            let mut config: AwsConfig = toml::from_str(EXAMPLE).unwrap();
            damage(&mut config);
            let error = config.validate().unwrap_err();
            assert!(error.remedy().contains(remedy), "{error}");
        }
    }
}
