//! Frames of the inner handshake: four octets of length (big-endian), then JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes of a frame: a Kerberos token with a large PAC is 64 KiB at most, a third more in base64.
pub const FRAME_BYTES_MAX: usize = 128 * 1024;

/// Writes one frame and flushes.
pub async fn write<S, T>(stream: &mut S, value: &T) -> io::Result<()>
where
    S: AsyncWrite + Unpin + ?Sized,
    T: Serialize + ?Sized,
{
    let json = serde_json::to_vec(value).map_err(io::Error::other)?;
    if json.len() > FRAME_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "frame too large"));
    }
    let mut bytes = u32::try_from(json.len()).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    bytes.extend_from_slice(&json);
    stream.write_all(&bytes).await?;
    stream.flush().await
}

/// Reads one frame; too large or unreadable ones are `InvalidData`.
pub async fn read<S, T>(stream: &mut S) -> io::Result<T>
where
    S: AsyncRead + Unpin + ?Sized,
    T: DeserializeOwned,
{
    let length = stream.read_u32().await? as usize;
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes")));
    }
    let mut json = vec![0; length];
    stream.read_exact(&mut json).await?;
    serde_json::from_slice(&json).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}
