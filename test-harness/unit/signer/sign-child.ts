import { writeSync } from "node:fs";
import { FileLock } from "../../provisioning/sealed-file.js";
import { SignerFolder } from "../../signer/signer-folder.js";
import { UserError } from "../../user-error.js";

/**
 * Signs in a process of its own: FOLDER KEY-FILE COUNT [STEP]. One line for each signature: the leaf. With STEP the
 * process is killed, as by `kill -9`, when the last of them gets there.
 */
const [folder = "", keyFile = "", count = "1", killAt = ""] = process.argv.slice(2);
const lock = FileLock.ofKeyFile(keyFile, false);
const key = SignerFolder.open(folder);
for (let done = 0; done < Number(count); ) {
	const isLast = done === Number(count) - 1;
	try {
		const { leaf } = key.sign(lock, Buffer.from(`message ${process.pid} ${done}`), {
			onStep(step) {
				if (isLast && step === killAt) process.kill(process.pid, "SIGKILL");
			},
		});
		writeSync(1, `${leaf}\n`);
		done++;
	} catch (error) {
		// another process signs just now
		if (!(error instanceof UserError) || !/sign again/.test(error.message)) throw error;
		Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3);
	}
}
