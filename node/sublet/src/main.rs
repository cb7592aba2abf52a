//! The `sublet` binary: parse, run, map the error to an exit code.

use std::process::ExitCode;

use clap::Parser as _;
use sublet::cli::{Cli, exit_code};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = cli.output;
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.print_error(&error);
            exit_code(&error)
        }
    }
}
