import "../unit/key-store/key-store.test.js";
import "../unit/key-store/images.test.js";
import "../unit/key-store/witness.test.js";
import "../unit/key-store/attach.test.js";
import "../unit/key-store/reseed.test.js";
import "../unit/key-store/journal.test.js";
import "../unit/key-store/server-unicast.test.js";
import "../unit/key-store/odometer.test.js";
import "../property/key-store/key-store.test.js";
import "../fuzz/key-store/messages.test.js";
import "../fuzz/key-store/journal.test.js";
import "../power-cut/key-store.test.js";
import { type RunOptions, runAll } from "./test-runner.js";

export const run = (options: RunOptions) =>
	runAll(
		/every jump between|silent after index|odometer: no value| (?!roll one|open a m)[^:]*: a cut at every| a life of many cuts/,
		options,
	);
