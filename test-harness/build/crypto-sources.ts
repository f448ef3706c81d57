import { join } from "node:path";
import { ROOT } from "../root.js";

/** The folder of the C below; also the include folder. */
export const CRYPTO_FOLDER = join(ROOT, "hosts", "xs", "crypto");

/** The portable part: C11 and the C library, no engine. */
export const CRYPTO_SOURCES: readonly string[] = ["sha256.c", "aes128.c", "modes.c", "calls.c"].map((name) =>
	join(CRYPTO_FOLDER, name),
);

/** The binding to XS, compiled like the rest of `hosts/xs`: the engine's defines and includes. */
export const CRYPTO_BINDING: readonly string[] = [join(CRYPTO_FOLDER, "install.c")];

/** For whoever includes `install.h`, and for the sources themselves. */
export const CRYPTO_INCLUDES: readonly string[] = [CRYPTO_FOLDER];

/** None is needed. */
export const CRYPTO_DEFINES: readonly string[] = [];
