//! Answers with a file, sent as the client takes it.

use pingora::http::ResponseHeader;
use pingora::{ErrorType, OrErr, Result};

use super::{Gateway, Session, matched};
use crate::config::{Extent, FileFolder};
use crate::context::Context;
use crate::files::{Asked, Served, Settings};

impl Gateway {
    pub(super) async fn serve_file(
        &self,
        session: &mut Session,
        context: &mut Context,
        files: &FileFolder,
    ) -> Result<()> {
        let request = session.req_header();
        let matched = matched(session, context);
        let settings = Settings {
            files,
            memory_bytes: context.site.policy.file_memory_bytes,
            compression: context
                .site
                .policy
                .compression
                .as_ref()
                .filter(|_| matched.is_some_and(|m| m.may_compress())),
            may_redirect: matched.is_some_and(|m| m.route().pattern.extent() == Extent::Below),
        };
        let asked = Asked {
            method: &request.method,
            path: &context.known.path,
            query: request.uri.query(),
            headers: &request.headers,
        };
        match self.files.serve(&settings, &asked).await {
            Ok(served) => self.send(session, context, served).await,
            Err(refused) => self.respond_problem(session, context, &refused.problem, refused.headers).await,
        }
    }

    /// A file that ends before its time ends the connection: whoever waits for the rest would wait for ever.
    async fn send(&self, session: &mut Session, context: &Context, served: Served) -> Result<()> {
        let Served { status, headers, mut body } = served;
        let mut response = ResponseHeader::build(status, Some(headers.len() + 2))?;
        for (name, value) in headers {
            response.append_header(name, value)?;
        }
        self.finish_header(session, &mut response, context)?;
        session.write_response_header(Box::new(response), body.is_empty()).await?;
        while let Some(chunk) = body.next().await.or_err(ErrorType::FileReadError, "a file became shorter")? {
            session.write_response_body(Some(chunk), body.is_empty()).await?;
        }
        Ok(())
    }
}
