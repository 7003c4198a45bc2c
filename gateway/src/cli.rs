//! The command line: what can be asked, and what each failure tells the shell.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

use crate::{cmd, config::ConfigFolder};

/// One door in front of your services: verifies tokens and API keys, enforces roles, tiers and limits, and hands
/// requests on with an identity that backends can trust.
///
/// Begin with `portcullis serve`: it needs no configuration, keeps its data in ./data, and says how to go on.
///
/// Exit codes, as sysexits.h has them: 65 what was given is not what it should be, 69 the database, a port or a file is not to be had,
/// 77 the database's role lacks a right, 78 the configuration is wrong; 2 the command line is, 1 anything else.
#[derive(Parser)]
#[command(name = "portcullis", version, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway and its account service.
    ///
    /// Prints one JSON line on stdout when ready: {"ready":true,"http":"http://…","https":null,"metrics":"http://…"}.
    /// The first start makes the data folder, a database, a master key (mode 0600) and the signing keys.
    /// SIGHUP reloads the configuration; SIGTERM finishes what is in flight and stops; another `serve --take-over` replaces it.
    ///
    /// Exit codes: 69 the database or a port is not to be had, 77 the database's role lacks a right, 78 the configuration is wrong, or the
    /// data folder, the access log's file or the master key is not as it must be.
    Serve(Serve),
    /// Check a configuration: every error with its place, then its cases, then who may call what.
    ///
    /// Starts nothing and needs no database. Example: portcullis check --config mine
    ///
    /// Exit code 78 if anything is wrong.
    Check(Folder),
    /// Make an account with the role admin, or give it to one that exists.
    ///
    /// Prints a link by which the password is chosen. Whose address is confirmed keeps the password and gets the role; an account that nobody
    /// has confirmed is taken over. Example: portcullis create-admin --email you@example.com
    ///
    /// Exit codes: 65 the address or the password cannot be used, 69 the database is not to be had, 77 its role lacks a right, 78 the
    /// configuration is wrong.
    CreateAdmin(CreateAdmin),
    /// Make accounts for machines, which have keys and no password.
    ///
    /// Example: portcullis service-account create reports --allowed-network 10.0.0.0/8
    ///
    /// Exit codes: 65 there is no such role, tier, tenant or account, or a name or network is none, 69 the database is not to be had, 77 its
    /// role lacks a right, 78 the configuration is wrong.
    ServiceAccount {
        #[command(subcommand)]
        step: ServiceAccountStep,
    },
    /// Bring the database's tables up to this version, show where they stand, or undo the last step.
    ///
    /// Prints every step and when it was applied. A gateway does `migrate up` when it starts; by itself it is for whose gateways may not change
    /// tables (docs/database.md). Example: portcullis migrate status
    ///
    /// Exit codes: 69 the database is not to be had, 77 its role lacks a right, 78 the configuration is wrong, 1 a step does not go.
    Migrate {
        #[command(subcommand)]
        step: MigrateStep,
        #[command(flatten)]
        place: Place,
    },
    /// Save everything that is stored as it is now into one new file (mode 0600), while gateways serve.
    ///
    /// The master key is not in it, and the file is of little use without: keep a copy of that one somewhere else. The file is of
    /// one engine, SQLite or Postgres, and goes back into the same. Example: portcullis backup /var/backups
    ///
    /// Exit codes: 65 the tables are of another version, 69 the file is there already or cannot be written, or the database is not to be had,
    /// 77 a right is lacking, 78 the configuration is wrong.
    Backup {
        /// The file, or a folder for a file that is named after the time.
        to: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Restore a backup where nothing is: a Postgres without the schema portcullis, or no database file.
    ///
    /// Refuses any other place, and a file that is damaged, of the other engine, or of a newer version. The master key of that time has to
    /// be put into its place by hand.
    ///
    /// Exit codes: 65 it refuses, 69 the file or the database is not to be had, 77 a right is lacking, 78 the configuration is wrong.
    Restore {
        /// The file.
        from: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Verify that nothing in the audit trail was altered or removed.
    ///
    /// Example: portcullis audit verify
    ///
    /// Exit codes: 1 something was, 69 the database is not to be had, 77 its role lacks a right, 78 the configuration is wrong.
    Audit {
        #[command(subcommand)]
        step: AuditStep,
    },
    /// Bring accounts of an older system here, with the hashes of their passwords: one JSON object a line. Of a folder: what else it
    /// has, from files of known names (docs/import.md).
    ///
    /// What is here already stays as it is, so an import that was broken off is simply run again. Lines that cannot be are told in a
    /// report, with number and reason.
    ///
    /// Exit codes: 65 there are such lines, 69 the file or the database is not to be had, 77 a right is lacking, 78 the configuration is wrong.
    Import(Import),
    /// Is the database there, and Redis, and the mail server?
    ///
    /// Prints a line for each. Waits for none, as a start does for the database.
    ///
    /// Exit codes: 69 one of them is not to be had, 78 the configuration is wrong.
    CheckConnection(Place),
    /// Delete everything in the database and what waits to be counted in it, and make its tables anew. Asks twice.
    ///
    /// There is no way back but a backup.
    ///
    /// Exit codes: 1 nothing was deleted, since nobody has said so, or not everything was, 69 the database is not to be had, 77 its role
    /// lacks a right, 78 the configuration is wrong.
    Reset(Reset),
    /// Make fresh secrets, or rotate the signing keys or the master key of a running platform.
    ///
    /// Example: portcullis keys rotate
    ///
    /// Exit codes: 69 the database is not to be had, 77 its role lacks a right, 78 the configuration is wrong, or the master key is another
    /// than what is stored was sealed with.
    Keys {
        #[command(subcommand)]
        step: KeysStep,
    },
    /// Run a service that answers as JSON with what it received, to try the gateway on.
    ///
    /// Answers {"method","path","query","headers":{name:[values]},"body"} and prints a ready line as `serve` does. SIGTERM stops it.
    /// Example: portcullis demo-upstream --listen 127.0.0.1:9100
    ///
    /// Exit code 69 if it cannot listen there.
    DemoUpstream {
        /// Where to listen; port 0 lets the system choose.
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000", value_parser = address)]
        listen: SocketAddr,
    },
}

/// Which configuration.
#[derive(Args, Clone)]
pub(crate) struct Folder {
    /// The folder with gateway.toml, routes.toml, roles.toml, tiers.toml, cases.toml and, if new organisations begin with anything,
    /// seed.toml. Without it the defaults that are built in are used.
    #[arg(long, value_name = "DIR", env = "PORTCULLIS_CONFIG", global = true)]
    config: Option<PathBuf>,
}

/// Which configuration and which data.
#[derive(Args, Clone)]
pub(crate) struct Place {
    #[command(flatten)]
    pub(crate) folder: Folder,
    /// The folder for the database file and the master key; made if it is missing.
    #[arg(long, value_name = "DIR", env = "PORTCULLIS_DATA", default_value = "data", global = true)]
    pub(crate) data: PathBuf,
}

#[derive(Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Where clients connect, instead of what the configuration says; port 0 lets the system choose.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub(crate) listen: Option<SocketAddr>,
    /// Take the sockets over from the gateway that serves this data folder, which then finishes what is in flight and ends: a
    /// restart without a refused connection. Where none serves, this starts as always.
    #[arg(long)]
    pub(crate) take_over: bool,
}

#[derive(Args)]
pub(crate) struct CreateAdmin {
    #[command(flatten)]
    pub(crate) place: Place,
    /// The administrator's address.
    #[arg(long)]
    pub(crate) email: String,
    /// The password, by which no link is printed. Give it by the variable: others can see arguments.
    #[arg(long, env = "PORTCULLIS_ADMIN_PASSWORD", hide_env_values = true, value_name = "PASSWORD")]
    pub(crate) password: Option<String>,
    /// Read the password from the first line of standard input, whatever `PORTCULLIS_ADMIN_PASSWORD` says.
    #[arg(long)]
    pub(crate) password_stdin: bool,
}

#[derive(Args)]
pub(crate) struct Import {
    /// The file, or a folder of files.
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) place: Place,
    /// What the older system is called in `[[legacy_issuers]]`; needed for accounts with an `id`, and for a folder.
    #[arg(long, value_name = "NAME")]
    pub(crate) system: Option<String>,
    /// The variable with the key that opens `integrations.jsonl` of a folder; by default `MASTER_ENCRYPTION_KEY` or
    /// `ENCRYPTION_MASTER_KEY`. If that is this platform's own master key, put the old system's into another one.
    #[arg(long, value_name = "NAME")]
    pub(crate) fernet_key_env: Option<String>,
    /// Look at every line and store nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Where rejected lines are told of; beside the file by default.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Reset {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Do not ask.
    #[arg(long)]
    pub(crate) yes_really: bool,
}

/// What to do with the tables.
#[derive(Subcommand, Clone, Copy)]
pub(crate) enum MigrateStep {
    /// Apply every step that is missing. Several nodes may do this at once.
    Up,
    /// List every step and when it was applied.
    Status,
    /// Undo the last step. Data in the tables it made is lost.
    Revert,
}

/// What to do with machines' accounts.
#[derive(Subcommand, Clone)]
pub(crate) enum ServiceAccountStep {
    /// Make one, and print its id and secret once.
    ///
    /// The secret is an API key (X-API-Key), and buys access tokens at POST /auth/token (RFC 6749, `client_credentials`).
    Create(CreateServiceAccount),
    /// Give one a new secret, and print it once. Those it had are worth nothing from then on, with all that was bought with them.
    Key {
        /// Its id.
        id: uuid::Uuid,
        #[command(flatten)]
        from: AllowedNetworks,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Args, Clone)]
pub(crate) struct AllowedNetworks {
    /// A network such as 10.0.0.0/8, or an address, from which the secret may be shown; up to 16 times. Without any: from anywhere.
    ///
    /// A secret that is bound so buys no access tokens.
    #[arg(long = "allowed-network", value_name = "NETWORK")]
    pub(crate) allowed_networks: Vec<String>,
}

#[derive(Args, Clone)]
pub(crate) struct CreateServiceAccount {
    /// What it is called.
    pub(crate) name: String,
    /// Its role in roles.toml.
    #[arg(long, default_value = "service")]
    pub(crate) role: String,
    /// Its own tier; without it that of its tenant, or the one that newcomers get.
    #[arg(long)]
    pub(crate) tier: Option<String>,
    /// The id of the tenant to which it belongs; none by default.
    #[arg(long, value_name = "ID")]
    pub(crate) tenant: Option<uuid::Uuid>,
    #[command(flatten)]
    pub(crate) from: AllowedNetworks,
    #[command(flatten)]
    pub(crate) place: Place,
}

/// What to do with the audit trail.
#[derive(Subcommand, Clone)]
pub(crate) enum AuditStep {
    /// Look at every chain from its beginning, and name the first event of each that was altered, added or is missing (exit code 1).
    ///
    /// What follows that one in its chain is neither looked at nor counted.
    ///
    /// Keep the digest that it prints somewhere else: of the same events it is the same, and only a database that was replaced by an
    /// older copy of itself lacks events without a fault.
    Verify(Place),
}

/// What to do with keys.
#[derive(Subcommand, Clone)]
pub(crate) enum KeysStep {
    /// Print fresh secrets as environment lines; nothing is stored.
    ///
    /// Needs neither configuration nor database. Example: portcullis keys generate >> portcullis.env
    Generate,
    /// Put the next signing keys in force. Tokens signed before stay good until they expire.
    ///
    /// Gateways that run follow within a second.
    ///
    /// Exit codes: 69 the database is not to be had, 77 its role lacks a right, 78 the configuration is wrong, or the master key is another
    /// than what is stored was sealed with.
    Rotate(Place),
    /// Seal everything that is sealed with a new master key, while gateways run.
    ///
    /// Where the key is in a file this makes the new one, waits until every running gateway has it, and reseals; broken off, it is simply run
    /// again. Where it is in a variable, docs/database.md says which steps come before. The old key is needed until this says that it may go.
    ///
    /// Exit codes: as of `keys rotate`, and 65 the file holds something else than a key and perhaps its successor, 69 a gateway does not take
    /// the new key up.
    RotateMaster(Place),
}

/// Why a command failed, and what the shell is told (sysexits.h).
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration is wrong; each line says where. Exit code 78.
    #[error("the configuration is wrong:\n{}", .0.join("\n"))]
    Config(Vec<String>),
    /// The configuration is right, and what it names or stands beside is not. Exit code 78.
    #[error("{0}")]
    Surroundings(String),
    /// The database, a port or a file is not to be had. Exit code 69.
    #[error("{0}")]
    Unavailable(String),
    /// The database's role lacks a right. Exit code 77.
    #[error("{0}")]
    Forbidden(String),
    /// Some of what was given is not what it should be. Exit code 65.
    #[error("{0}")]
    Data(String),
    /// Anything else. Exit code 1.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// In the words that the configuration has for it.
fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "not an address such as 127.0.0.1:8080")
}

/// Runs the command.
pub fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Serve(serve) => cmd::serve::run(&serve),
        Command::Check(folder) => cmd::check::run(&folder),
        Command::CreateAdmin(create) => cmd::create_admin::run(&create),
        Command::ServiceAccount { step: ServiceAccountStep::Create(create) } => cmd::service_account::create(&create),
        Command::ServiceAccount { step: ServiceAccountStep::Key { id, from, place } } => {
            cmd::service_account::replace_key(id, &from, &place)
        }
        Command::Migrate { step, place } => cmd::migrate::run(step, &place),
        Command::Backup { to, place } => cmd::backup::save(&to, &place),
        Command::Restore { from, place } => cmd::backup::restore(&from, &place),
        Command::Audit { step: AuditStep::Verify(place) } => cmd::audit::verify(&place),
        Command::Import(import) => cmd::import::run(&import),
        Command::CheckConnection(place) => cmd::check_connection::run(&place),
        Command::Reset(reset) => cmd::reset::run(&reset),
        Command::Keys { step: KeysStep::Generate } => cmd::keys::generate(),
        Command::Keys { step: KeysStep::Rotate(place) } => cmd::keys::rotate(&place),
        Command::Keys { step: KeysStep::RotateMaster(place) } => cmd::rotate_master::run(&place),
        Command::DemoUpstream { listen } => cmd::demo_upstream::run(listen),
    }
}

// === impl Folder ===

impl Folder {
    pub(crate) fn open(&self) -> ConfigFolder {
        self.config.clone().map_or(ConfigFolder::Embedded, ConfigFolder::Path)
    }
}

// === impl Failure ===

impl Failure {
    /// Says what went wrong on standard error, and gives the exit code.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        let code = match self {
            Self::Data(_) => 65,
            Self::Config(_) | Self::Surroundings(_) => 78,
            Self::Unavailable(_) => 69,
            Self::Forbidden(_) => 77,
            Self::Other(_) => 1,
        };
        // Of anything else with all its causes.
        cmd::say_error(&format!("portcullis: {self:#}"));
        ExitCode::from(code)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// Each command and argument, from here on, that says nothing of itself or is not shown.
    fn silent(command: &clap::Command) -> Vec<String> {
        let itself = (command.get_about().is_none() || command.is_hide_set()).then(String::new);
        let arguments = command.get_arguments().filter(|one| one.get_help().is_none() || one.is_hide_set());
        let arguments = arguments.map(|one| one.get_id().to_string());
        let below = command.get_subcommands().flat_map(silent);
        itself.into_iter().chain(arguments).chain(below).map(|what| format!("{} {what}", command.get_name())).collect()
    }

    #[test]
    fn every_command_and_every_argument_says_what_it_is_for() {
        assert_eq!(silent(&Cli::command()), Vec::<String>::new());
    }

    #[test]
    fn an_address_that_is_none_is_told_by_an_example() {
        for command in ["serve", "demo-upstream"] {
            let refused = Cli::try_parse_from(["portcullis", command, "--listen", "8080"]).err();
            let told = refused.map(|refused| refused.to_string()).unwrap_or_default();
            assert!(told.contains("'8080'") && told.contains(": not an address such as 127.0.0.1:8080"), "{told}");
        }
    }

    /// Characters in the longest line of help, from here on.
    fn widest(command: &mut clap::Command) -> usize {
        let help = command.render_long_help().to_string();
        let own = help.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        command.get_subcommands_mut().map(widest).fold(own, usize::max)
    }

    #[test]
    fn help_breaks_its_lines_between_words() {
        let mut command = Cli::command();
        command.build();
        let widest = widest(&mut command);
        assert!(widest <= 110, "{widest}");
    }

    #[test]
    fn every_command_says_at_length_what_it_does_and_what_its_exit_codes_mean() {
        for command in Cli::command().get_subcommands() {
            let told = command.get_long_about().map(ToString::to_string).unwrap_or_default();
            assert!(told.contains("Exit code"), "{}: {told:?}", command.get_name());
        }
    }
}
