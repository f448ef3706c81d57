import { writeSync } from "node:fs";
import { RecordKind, recordKey, Store, StoreError } from "../../head-end/store.js";

// Child of store.test.ts: writes rows after the last one, and says so only when they are on the disk.
const ID = "0011223344556677";
const store = await Store.open(process.argv[2]!);
let sequence = 0;
for await (const record of store.records(ID, RecordKind.profile)) sequence = record.sequence + 1;
try {
	for (;;) {
		const value = Buffer.from(`row ${sequence} ${"x".repeat(400)}`);
		await store.write([{ key: recordKey(ID, RecordKind.profile, 0, sequence), value }], true);
		writeSync(1, `confirmed ${sequence++}\n`);
	}
} catch (error) {
	if (!(error instanceof StoreError)) throw error;
	writeSync(1, `refused ${error.reason} ${error.message}\n`);
	process.exit(0);
}
