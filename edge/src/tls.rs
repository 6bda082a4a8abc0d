//! The certificate, and how connections are secured: TLS 1.2 and 1.3, HTTP/2 by ALPN.

use anyhow::{Context as _, anyhow};
use pingora::listeners::tls::TlsSettings;

use crate::config::TlsFiles;

/// Settings for a listener with the policy's certificate.
pub fn settings(files: &TlsFiles) -> anyhow::Result<TlsSettings> {
    let TlsFiles { certificate, private_key } = files;
    for file in [certificate, private_key] {
        std::fs::metadata(file).with_context(|| format!("{} can't be read", file.display()))?;
    }
    let (Some(certificate), Some(private_key)) = (certificate.to_str(), private_key.to_str()) else {
        return Err(anyhow!("the certificate's path is not UTF-8"));
    };
    let mut settings = TlsSettings::intermediate(certificate, private_key)
        .map_err(|error| anyhow!("the certificate is refused: {error}"))?;
    settings.enable_h2();
    Ok(settings)
}
