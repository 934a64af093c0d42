//! The floor server: the least a server on the same runtime, allocator and libraries could do for each row.
//!
//! It has no policy, no audit, no limits; it is a bound to hold the product against, not a peer.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::Context;
use aws_lc_rs::digest;
use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

/// The claims a floor token carries: as many as a real one.
#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    client_id: String,
    jti: String,
    partner_id: String,
    token_kind: String,
    scope: String,
    iat: u64,
    exp: u64,
}

/// The secret of the one client in the floor's database.
pub(crate) const CLIENT_SECRET: &str = "a-floor-secret-of-43-characters-aaaaaaaaaaa";

struct Floor {
    signing: EncodingKey,
    verifying: DecodingKey,
    validation: Validation,
    readers: SqlitePool,
    writer: mpsc::Sender<(i64, oneshot::Sender<()>)>,
}

/// Serves the floors until killed.
pub(crate) async fn serve(folder: &Path) -> anyhow::Result<()> {
    let key = keys::SigningKey::es256_from_seed([7; 32]).context("a P-256 key")?;
    let jwk = key.to_private_jwk()?;
    let der = pkcs8_of(&key)?;
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&["http://localhost/resource"]);
    validation.set_issuer(&["http://localhost/issuer"]);
    let part = |name: &str| jwk[name].as_str().map(str::to_owned).context("a coordinate");
    let (writer_pool, readers) = open(folder).await?;
    let (writer, waiting) = mpsc::channel(4096);
    tokio::spawn(write_groups(writer_pool, waiting));
    let floor = Arc::new(Floor {
        signing: EncodingKey::from_ec_der(&der),
        verifying: DecodingKey::from_ec_components(&part("x")?, &part("y")?)?,
        validation,
        readers,
        writer,
    });
    let router = Router::new()
        .route("/fixed", get(fixed))
        .route("/form", post(form))
        .route("/token", post(token))
        .route("/verified", get(verified))
        .route("/write", post(write))
        .with_state(floor);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    announce(folder, &listener)?;
    axum::serve(listener, router).await?;
    Ok(())
}

/// Writes the port into the file `port`, whole or not at all: the sign that the server answers.
pub(crate) fn announce(folder: &Path, listener: &TcpListener) -> anyhow::Result<()> {
    std::fs::write(folder.join("port.part"), listener.local_addr()?.port().to_string())?;
    std::fs::rename(folder.join("port.part"), folder.join("port"))?;
    Ok(())
}

/// The bearer token that `/verified` accepts.
pub(crate) fn bearer() -> anyhow::Result<String> {
    let key = keys::SigningKey::es256_from_seed([7; 32]).context("a P-256 key")?;
    sign(&EncodingKey::from_ec_der(&pkcs8_of(&key)?))
}

/// The P-256 key as PKCS #8, the one shape jsonwebtoken takes.
fn pkcs8_of(key: &keys::SigningKey) -> anyhow::Result<Vec<u8>> {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    let jwk = key.to_private_jwk()?;
    let part = |name: &str| {
        keys::b64::decode(jwk[name].as_str().unwrap_or_default())
            .map_err(|_| anyhow::anyhow!("{name} of the key"))
    };
    let mut public = vec![4];
    public.extend(part("x")?);
    public.extend(part("y")?);
    let pair =
        EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_FIXED_SIGNING, &part("d")?, &public)
            .map_err(|error| anyhow::anyhow!("key pair: {error}"))?;
    let document = pair.to_pkcs8v1().map_err(|error| anyhow::anyhow!("PKCS #8: {error}"))?;
    Ok(document.as_ref().to_vec())
}

fn sign(key: &EncodingKey) -> anyhow::Result<String> {
    let claims = Claims {
        iss: "http://localhost/issuer".to_owned(),
        aud: "http://localhost/resource".to_owned(),
        sub: "cli_0193b1f0c7a97d8e8f6a1b2c3d4e5f60".to_owned(),
        client_id: "cli_0193b1f0c7a97d8e8f6a1b2c3d4e5f60".to_owned(),
        jti: "0193b1f0c7a97d8e8f6a1b2c3d4e5f60".to_owned(),
        partner_id: "par_0193b1f0c7a97d8e8f6a1b2c3d4e5f60".to_owned(),
        token_kind: "client".to_owned(),
        scope: "customers:read customers:write fiat_ins:execute fiat_ins:read".to_owned(),
        iat: 1_763_000_000,
        exp: 4_102_444_800,
    };
    Ok(jsonwebtoken::encode(&Header::new(Algorithm::ES256), &claims, key)?)
}

async fn open(folder: &Path) -> anyhow::Result<(SqlitePool, SqlitePool)> {
    let options =
        SqliteConnectOptions::from_str(&format!("sqlite://{}", folder.join("floor.sqlite").display()))?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
    let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
    sqlx::query(
        "CREATE TABLE client (client_id TEXT PRIMARY KEY, secret_hash TEXT NOT NULL, scope TEXT NOT NULL)",
    )
    .execute(&writer)
    .await?;
    sqlx::query("CREATE TABLE row_of_a_unit (id BIGINT PRIMARY KEY, body TEXT NOT NULL)")
        .execute(&writer)
        .await?;
    let hash = keys::digest::sha256_b64(CLIENT_SECRET.as_bytes());
    sqlx::query("INSERT INTO client VALUES ('floor', $1, 'customers:read')")
        .bind(hash)
        .execute(&writer)
        .await?;
    let readers = SqlitePoolOptions::new().max_connections(4).connect_with(options).await?;
    Ok((writer, readers))
}

/// One statement a unit, up to 256 units a commit, answered after the fsync: the batched-statement floor.
async fn write_groups(writer: SqlitePool, mut waiting: mpsc::Receiver<(i64, oneshot::Sender<()>)>) {
    let mut group = Vec::new();
    while waiting.recv_many(&mut group, 256).await > 0 {
        let Ok(mut tx) = writer.begin().await else { return };
        let mut done = Vec::with_capacity(group.len());
        for (id, answer) in group.drain(..) {
            let insert = sqlx::query("INSERT INTO row_of_a_unit VALUES ($1, $2) ON CONFLICT DO NOTHING")
                .bind(id)
                .bind("x".repeat(200));
            if insert.execute(&mut *tx).await.is_err() {
                return;
            }
            done.push(answer);
        }
        if tx.commit().await.is_err() {
            return;
        }
        for answer in done {
            let _ = answer.send(());
        }
    }
}

/// A fixed JSON answer.
pub(crate) async fn fixed() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], FIXED)
}

#[derive(Deserialize)]
struct TokenForm {
    client_id: String,
    client_secret: String,
}

#[derive(Serialize)]
struct TokenReply {
    access_token: String,
    token_type: &'static str,
    expires_in: u32,
}

async fn form(Form(form): Form<TokenForm>) -> impl IntoResponse {
    let _ = (form.client_id, form.client_secret);
    ([(header::CONTENT_TYPE, "application/json")], FIXED)
}

async fn token(
    State(floor): State<Arc<Floor>>,
    Form(form): Form<TokenForm>,
) -> Result<Json<TokenReply>, StatusCode> {
    let stored: Option<(String, String)> =
        sqlx::query_as("SELECT secret_hash, scope FROM client WHERE client_id = $1")
            .bind(&form.client_id)
            .fetch_optional(&floor.readers)
            .await
            .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let (hash, _) = stored.ok_or(StatusCode::UNAUTHORIZED)?;
    let presented = digest::digest(&digest::SHA256, form.client_secret.as_bytes());
    if keys::b64::encode(presented.as_ref()) != hash {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let access_token = sign(&floor.signing).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(Json(TokenReply { access_token, token_type: "Bearer", expires_in: 600 }))
}

async fn verified(
    State(floor): State<Arc<Floor>>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, StatusCode> {
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .ok_or(StatusCode::UNAUTHORIZED)?;
    jsonwebtoken::decode::<Claims>(token, &floor.verifying, &floor.validation)
        .map_err(|_| StatusCode::UNAUTHORIZED)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], FIXED))
}

async fn write(State(floor): State<Arc<Floor>>, body: String) -> Result<impl IntoResponse, StatusCode> {
    let (answer, done) = oneshot::channel();
    let id = body.parse().map_err(|_| StatusCode::BAD_REQUEST)?;
    floor.writer.send((id, answer)).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    done.await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], FIXED))
}

/// About as long as a JWKS or a token answer.
const FIXED: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","use":"sig","alg":"ES256","kid":"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs","x":"WKn-ZIGevcwGIyyrzFoZNBdaq9_TsqzGl96oc0CWuis","y":"y77t-RvAHRKTsSGdIYUfweuOvwrvDD-Q3Hv5J0fSKbE"},{"kty":"EC","crv":"P-256","use":"sig","alg":"ES256","kid":"MzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs","x":"XKn-ZIGevcwGIyyrzFoZNBdaq9_TsqzGl96oc0CWuis","y":"z77t-RvAHRKTsSGdIYUfweuOvwrvDD-Q3Hv5J0fSKbE"}]}"#;
