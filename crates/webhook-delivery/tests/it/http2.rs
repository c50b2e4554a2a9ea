//! Receivers that speak HTTP/2.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ServerConfig, crypto::ring};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_rustls::TlsAcceptor;
use webhook_delivery::{CertificateDer, DeliveryConfig, Verdict, verify::Verifier};
use webhook_model::{Secret, UtcTime};

use crate::{LONG, SECRET, attempt_url, client_with};

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    let verifier = Verifier::new(&Secret::parse(SECRET).unwrap());
    let verified = verifier.verify(&parts.headers, &body, UtcTime::now());
    let good = verified.is_ok() && parts.version == Version::HTTP_2;
    let mut response = Response::new(Full::new(Bytes::from_static(b"received")));
    *response.status_mut() = if good { 202 } else { 400 }.try_into().unwrap();
    Ok(response)
}

fn acceptor() -> (TlsAcceptor, CertificateDer<'static>) {
    let (certificate, key) = webhook_testkit::self_signed(&["127.0.0.1"]);
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    (TlsAcceptor::from(Arc::new(config)), certificate)
}

#[tokio::test]
async fn deliveries_share_one_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/hook", listener.local_addr().unwrap());
    let (tls, certificate) = acceptor();
    let connections = Arc::new(AtomicUsize::new(0));
    let mut server = JoinSet::new();
    server.spawn({
        let connections = Arc::clone(&connections);
        async move {
            let mut serving = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let stream = TokioIo::new(tls.accept(stream).await.unwrap());
                let connection = http2::Builder::new(TokioExecutor::new())
                    .serve_connection(stream, service_fn(answer));
                serving.spawn(connection);
            }
        }
    });
    let client = client_with(DeliveryConfig {
        extra_roots: vec![certificate],
        ..DeliveryConfig::default()
    });
    for _ in 0..5 {
        let attempt = attempt_url(&client, &url, LONG).await;
        assert_eq!(attempt.verdict, Verdict::DELIVERED, "{attempt:?}");
        assert_eq!(
            (attempt.status, attempt.answer),
            (Some(202), "received".into())
        );
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}
