//! The server as a child process.

use std::{os::unix::process::CommandExt as _, path::PathBuf, process::Stdio, time::Duration};

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    process::{Child, ChildStdin, Command},
    time::timeout,
};

use crate::{ACCESS_KEY, Fault, MotoError, MotoOptions, SECRET_KEY, environment};

/// Importing moto takes a second, and ten on a machine with other things to do.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// The server's program, given to the interpreter as text: there is no file to lose. The second part runs the server.
const PROGRAM: &str = concat!(include_str!("../strict_kms.py"), include_str!("../strict_ec2.py"));

/// A running server; dropping it ends it.
#[derive(Debug)]
pub struct Moto {
    pub(crate) endpoint: String,
    pub(crate) environment: PathBuf,
    port: u16,
    group: Pid,
    child: Child,
    /// Open as long as the server is wanted; the system closes it when this process ends in whatever way.
    _wanted: ChildStdin,
}

impl Moto {
    /// Starts a server of its own, with no machines, and returns once it listens. The first call for this
    /// user makes the python environment, which takes about a minute.
    ///
    /// # Errors
    /// Without python3, without the package index the first time, or when the server does not come up.
    pub async fn start(options: MotoOptions) -> Result<Self, MotoError> {
        let not_up = |reason: String| MotoError::NotUp(reason);
        let making = tokio::task::spawn_blocking(environment::ready).await;
        let environment = making.map_err(|error| not_up(error.to_string()))??;
        let mut child = command(&environment, &options).spawn().map_err(|error| not_up(error.to_string()))?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let (Some(group), Some(wanted), Some(stdout)) = (group, child.stdin.take(), child.stdout.take())
        else {
            return Err(not_up("it ended at once".into()));
        };
        let mut line = String::new();
        let first = timeout(START_TIMEOUT, BufReader::new(stdout).read_line(&mut line)).await;
        let port = match first {
            Ok(Ok(_)) => line.trim().parse::<u16>().ok(),
            _ => None,
        };
        let Some(port) = port else { return Err(not_up(why_it_ended(child).await)) };
        if let Some(mut stderr) = child.stderr.take() {
            // Read on, or a talkative server would wait for us one day.
            tokio::spawn(async move { tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await });
        }
        Ok(Self {
            endpoint: format!("http://127.0.0.1:{port}"),
            environment,
            port,
            group,
            child,
            _wanted: wanted,
        })
    }

    /// The URL for `endpoint_url`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The content of a credentials file with the one key that the server believes.
    #[must_use]
    pub fn credentials(&self) -> String {
        format!("[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n")
    }

    /// Stops the process in its tracks: connections are taken and nothing is answered.
    pub fn pause(&self) {
        let _ = kill(self.group, Signal::SIGSTOP);
    }

    /// Lets a paused server go on.
    pub fn resume(&self) {
        let _ = kill(self.group, Signal::SIGCONT);
    }

    /// Orders an error.
    ///
    /// # Errors
    /// When the server is gone.
    pub async fn fault(&self, fault: &Fault) -> Result<(), MotoError> {
        let said = self.post("/strict/faults", &serde_json::json!(fault).to_string()).await;
        let said = said.map_err(|error| MotoError::NoAnswer(error.to_string()))?;
        if said.contains(" 204 ") { Ok(()) } else { Err(MotoError::NoAnswer(said)) }
    }

    /// The least of an HTTP client: the answer's first line.
    async fn post(&self, path: &str, body: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(format!("{head}{body}").as_bytes()).await?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await?;
        Ok(line)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // Until the child is waited for, its number is not given to anybody else.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = killpg(self.group, Signal::SIGKILL);
        }
    }
}

fn command(environment: &std::path::Path, options: &MotoOptions) -> Command {
    let mut command = std::process::Command::new(environment::python(environment));
    command.args(["-c", PROGRAM]).process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env("STRICT_EC2_ACCESS_KEY", ACCESS_KEY).env("STRICT_EC2_SECRET_KEY", SECRET_KEY);
    command.env("STRICT_EC2_TRANSITION_MS", options.transition.as_millis().to_string());
    command.env("STRICT_EC2_HIDDEN_MS", options.hidden.as_millis().to_string());
    command.env("STRICT_EC2_PAGE", options.page.to_string());
    if let Some(address) = &options.address {
        command.env("STRICT_EC2_ADDRESS", address);
    }
    let mut command = Command::from(command);
    command.kill_on_drop(true);
    command
}

async fn why_it_ended(mut child: Child) -> String {
    let mut said = Vec::new();
    let _ = child.start_kill();
    if let Some(mut stderr) = child.stderr.take() {
        let _ = timeout(START_TIMEOUT, stderr.read_to_end(&mut said)).await;
    }
    environment::last_words(&said)
}
