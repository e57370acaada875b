//! What several tests need.
#![allow(dead_code, reason = "each test file uses its part")]

use gradus::Device;

/// The adapter that tests run on: `GRADUS_TEST_DEVICE`, or the best there is. A test that needs one fails
/// without, it never skips.
pub fn adapter() -> String {
    std::env::var("GRADUS_TEST_DEVICE").unwrap_or_else(|_| "gpu".into())
}

/// The adapter, open.
pub fn gpu() -> Device {
    Device::select(&adapter()).unwrap_or_else(|error| {
        panic!("this test needs an adapter; run scripts/test.sh to install one. {error}")
    })
}
