//! A network for as long as a story needs it: brought up, ended by a signal or by the story, always taken down.

use std::process::ExitCode;

use sublet::{
    cli::one_line,
    devnet::{DEVNET_PARAMS, Devnet, DevnetOptions, stop_signal},
};

use crate::{
    leftovers::assert_gone,
    story::{complain, is_reader_gone, say},
    sublet_binary,
};

/// How a story ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Told to the end.
    Told,
    /// By a signal, or because the reader has gone away.
    Interrupted,
}

/// What happens on a network.
pub trait Tale {
    /// Brings the network up, without nodes.
    fn start(&mut self, options: DevnetOptions) -> impl Future<Output = anyhow::Result<Devnet>> {
        async { Ok(Devnet::start(options).await?) }
    }

    /// Acts on the fresh network until the end.
    fn tell(&mut self, net: &mut Devnet) -> impl Future<Output = anyhow::Result<()>>;

    /// Called with how it went, before the network goes: the place to write reports. An error that is handed in
    /// is handed out.
    fn close(&mut self, net: &Devnet, told: anyhow::Result<Ended>) -> anyhow::Result<Ended>;
}

/// Runs `tale` on a network of its own, in a directory named after `name` and this process. Whatever happens, the
/// network is taken down, and errors are reported after that; the first one counts.
pub async fn with_network(name: &str, tale: &mut impl Tale) -> anyhow::Result<Ended> {
    let mut stopped = stop_signal()?;
    let dir = std::env::temp_dir().join(format!("sublet-{name}-{}", std::process::id()));
    let options = DevnetOptions { dir: dir.clone(), binary: sublet_binary()?, params: DEVNET_PARAMS };
    let up = tokio::select! {
        net = tale.start(options) => net.map(Some),
        () = &mut stopped => Ok(None),
    };
    let ended = match up {
        Ok(Some(net)) => tell_and_take_down(net, tale, stopped).await,
        Ok(None) => Ok(Ended::Interrupted),
        Err(error) => quiet_if_unread(Err(error)),
    };
    let gone = assert_gone(&dir);
    ended.and_then(|ended| gone.and(Ok(ended)))
}

async fn tell_and_take_down(
    mut net: Devnet,
    tale: &mut impl Tale,
    stopped: impl Future<Output = ()>,
) -> anyhow::Result<Ended> {
    let told = tokio::select! {
        told = tale.tell(&mut net) => told.map(|()| Ended::Told),
        () = stopped => Ok(Ended::Interrupted),
    };
    let told = quiet_if_unread(told);
    if told.is_err() {
        for node in net.nodes() {
            complain(&format!("--- the end of the log of '{}'\n{}", node.name(), node.log_tail()));
        }
    }
    let told = tale.close(&net, told);
    // Nobody has to read it; the network goes either way.
    let _ = say("\ntaking the network down…");
    let down = net.down().await;
    told.and_then(|ended| down.map_err(Into::into).and(Ok(ended)))
}

/// A reader that has gone away has interrupted us.
fn quiet_if_unread(told: anyhow::Result<Ended>) -> anyhow::Result<Ended> {
    match told {
        Err(error) if is_reader_gone(&error) => Ok(Ended::Interrupted),
        told => told,
    }
}

/// Says how it went, last, and gives the exit code: 130 after an interruption, as shells have it.
pub fn conclude(name: &str, ended: &anyhow::Result<Ended>) -> ExitCode {
    match ended {
        Ok(Ended::Told) if say(&format!("\n{name}: ok")).is_ok() => ExitCode::SUCCESS,
        Ok(_) => {
            complain(&format!("{name}: interrupted; everything is taken down"));
            ExitCode::from(130)
        }
        Err(error) => {
            complain(&format!("\n{name}: failed: {}", one_line(error)));
            ExitCode::FAILURE
        }
    }
}
