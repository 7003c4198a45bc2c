//! How mail leaves: to an SMTP server, or into a folder.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::{DateTime, Utc};
use identity::SecretText;
use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    transport::smtp::{
        self,
        authentication::Credentials,
        client::{Certificate, CertificateStore, Tls, TlsParameters},
    },
};
use uuid::Uuid;

use super::MailError;

/// How mail goes.
#[derive(Clone, PartialEq, Eq)]
pub enum MailTransport {
    /// Each into a file of this folder, for whoever tries the platform out.
    File(PathBuf),
    /// To a server that carries it on.
    Smtp(SmtpSettings),
}

/// A server.
#[derive(Clone, PartialEq, Eq)]
pub struct SmtpSettings {
    /// Its name, which its certificate is for.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// With TLS?
    pub security: Security,
    /// Who we are.
    pub credentials: Option<(String, SecretText)>,
    /// PEM: who may have signed its certificate; `None`: whom the web trusts.
    pub authorities: Option<String>,
    /// How long one command may take.
    pub timeout: Duration,
}

/// With TLS? There is no "if the server offers it": whoever sits between could take the offer away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// No.
    Plain,
    /// After STARTTLS (RFC 3207); a server that does not offer it gets nothing.
    StartTls,
    /// From the first byte (RFC 8314).
    Tls,
}

pub(super) enum Transport {
    File(PathBuf),
    Smtp(Box<AsyncSmtpTransport<Tokio1Executor>>),
}

/// Why a message was not handed over.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error("{}", with_causes(.0))]
    Smtp(#[from] smtp::Error),
    #[error("the folder of mail cannot be written to: {0}")]
    File(#[from] std::io::Error),
}

// === impl Transport ===

impl Transport {
    pub(super) fn open(settings: &MailTransport) -> Result<Self, MailError> {
        match settings {
            MailTransport::File(folder) => Ok(Self::File(folder.clone())),
            MailTransport::Smtp(settings) => {
                let tls = settings.tls().map_err(|error| MailError::Transport(with_causes(&error)))?;
                let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&settings.host)
                    .port(settings.port)
                    .timeout(Some(settings.timeout))
                    .tls(tls);
                if let Some((name, password)) = &settings.credentials {
                    builder = builder.credentials(Credentials::new(name.clone(), password.expose().to_owned()));
                }
                Ok(Self::Smtp(Box::new(builder.build())))
            }
        }
    }

    /// Hands a message over; says where it is, if that is here.
    pub(super) async fn send(
        &self,
        id: Uuid,
        written_at: DateTime<Utc>,
        message: Message,
    ) -> Result<Option<PathBuf>, SendError> {
        match self {
            Self::Smtp(server) => Ok(server.send(message).await.map(|_| None)?),
            Self::File(folder) => Ok(Some(write(folder, id, written_at, &message.formatted())?)),
        }
    }
}

// === impl SmtpSettings ===

impl SmtpSettings {
    /// Is the server there, and does it take who we are? Else why not.
    pub async fn reach(&self) -> Result<(), String> {
        let Transport::Smtp(server) =
            Transport::open(&MailTransport::Smtp(self.clone())).map_err(|error| with_causes(&error))?
        else {
            return Ok(());
        };
        match server.test_connection().await {
            Ok(true) => Ok(()),
            Ok(false) => Err("the server closes the connection".to_owned()),
            Err(error) => Err(with_causes(&error)),
        }
    }

    fn tls(&self) -> Result<Tls, smtp::Error> {
        let parameters = || {
            let mut builder = TlsParameters::builder(self.host.clone());
            if let Some(authorities) = &self.authorities {
                builder = builder
                    .certificate_store(CertificateStore::None)
                    .add_root_certificate(Certificate::from_pem(authorities.as_bytes())?);
            }
            builder.build_rustls()
        };
        Ok(match self.security {
            Security::Plain => Tls::None,
            Security::StartTls => Tls::Required(parameters()?),
            Security::Tls => Tls::Wrapper(parameters()?),
        })
    }
}

// === impl SendError ===

impl SendError {
    /// Will the server never take this message? It says so of the mailbox (RFC 5321 §4.2.3); what else it refuses for good may be
    /// our configuration, which somebody mends.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Smtp(error) => {
                let code = error.status().map(u16::from);
                code.is_some_and(|code| (550..=553).contains(&code))
            }
            Self::File(_) => false,
        }
    }
}

/// Made whole under another name first: whoever watches the folder finds no halves. Written twice it is one file.
fn write(folder: &Path, id: Uuid, written_at: DateTime<Utc>, message: &[u8]) -> std::io::Result<PathBuf> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let path = folder.join(format!("{}-{}.eml", written_at.format("%Y%m%dT%H%M%S"), id.simple()));
    let draft = path.with_extension("new");
    // It holds links that open accounts.
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(message)?;
    fs::rename(&draft, &path)?;
    Ok(path)
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
