//! resource-api
