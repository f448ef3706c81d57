/** Firmware version; package.json has the same (a test holds it). */
export const FIRMWARE_MAJOR = 0;
export const FIRMWARE_MINOR = 1;
export const FIRMWARE_PATCH = 0;
export const FIRMWARE_VERSION = `${FIRMWARE_MAJOR}.${FIRMWARE_MINOR}.${FIRMWARE_PATCH}`;
/** Raised when an older firmware must not come back. */
export const SECURITY_VERSION = 1;
