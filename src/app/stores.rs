//! The stores of a configuration. None is connected to or opened before it is asked for.

use std::sync::Arc;

use super::AppError;
use crate::adapters::{
    Adapter, Codec, FileAdapter, Memory, Mongodb, MongodbSettings, Redis, RedisSettings, StoreError,
};
use crate::config::Config;
use crate::seal::Keyring;

/// Every adapter that the configuration makes usable, memory first.
///
/// # Errors
/// [`AppError::Keys`] for a key file that cannot be used, [`AppError::Redis`] and [`AppError::Mongodb`] for an address
/// that is none.
pub(super) fn stores(config: &Config) -> Result<Vec<Arc<dyn Adapter>>, AppError> {
    let keys = match &config.sessions.encryption_key_file {
        Some(path) => Some(Arc::new(Keyring::read(path)?)),
        None => None,
    };
    let codec = Codec::new(keys);
    // Tells this process from the others that use the same store.
    let process: u64 = rand::random();
    let mut adapters: Vec<Arc<dyn Adapter>> = vec![
        Arc::new(Memory::default()),
        Arc::new(FileAdapter::new(
            config.adapters.file.path.clone(),
            codec.clone(),
        )),
    ];
    if let Some(url) = &config.adapters.redis.url {
        let settings = RedisSettings {
            url: url.expose().to_owned(),
            key_prefix: config.adapters.redis.key_prefix.as_str().to_owned(),
            ca_files: config.tls.upstream_ca_files.clone(),
        };
        adapters.push(Arc::new(Redis::new(settings, codec.clone(), process)?));
    }
    let mongodb = &config.adapters.mongodb;
    if let Some(uri) = &mongodb.uri {
        let settings = MongodbSettings {
            uri: uri.expose().to_owned(),
            database: mongodb.database.as_str().to_owned(),
        };
        adapters.push(Arc::new(Mongodb::new(settings, codec, process)?));
    }
    Ok(adapters)
}

/// Each adapter of the configuration, with whether its store can be reached now and does its work.
///
/// # Errors
/// As for a start: what makes the configuration unusable.
pub async fn probe(
    config: &Config,
) -> Result<Vec<(&'static str, Result<(), StoreError>)>, AppError> {
    let mut health = Vec::new();
    for adapter in stores(config)? {
        health.push((adapter.name(), adapter.health().await));
    }
    Ok(health)
}
