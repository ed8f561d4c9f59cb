//! The `tidegate` binary: arguments in, an exit code out. Everything else is in the library.

mod allocator;

use std::process::ExitCode;

use clap::Parser;
use tidegate::cli::{self, Arguments, Command};

fn main() -> ExitCode {
    allocator::set_up();
    tidegate::install_crypto_provider();
    let arguments = Arguments::parse();
    let done = match arguments.command() {
        Command::Serve(serve) => cli::serve::run(&arguments.config, &serve),
        Command::Validate => cli::validate::run(&arguments.config),
        Command::Components => cli::components::run(),
        Command::Query(query) => cli::query::run(&arguments.config, &query),
        Command::Logs(logs) => cli::logs::run(&logs),
        Command::Blocks(blocks) => cli::blocks::run(&arguments.config, &blocks),
        Command::Migrate(migrate) => cli::migrate::run(&arguments.config, &migrate),
        Command::Check(check) => cli::check::run(&arguments.config, &check),
        Command::Doctor(doctor) => cli::doctor::run(&arguments.config, &doctor),
        Command::PrintConfig(print) => cli::print_config::run(&arguments.config, &print),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::report(&error);
            ExitCode::FAILURE
        }
    }
}
