import "../unit/crypto/vectors.test.js";
import "../unit/crypto/drbg.test.js";
import "../property/crypto/crypto.test.js";
import { type RunOptions, runAll } from "./test-runner.js";

export const run = (options: RunOptions) => runAll(/NIST and RFC sha256/, options);
